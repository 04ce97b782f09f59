"""What is measured: models of full size with random weights, and diffusers' pipelines of the same weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel, UNet3DConditionModel
from torch import Tensor, nn

from pos.backbones.stable_diffusion import ImageUNet
from pos.networks.inflated.scvideo import InflatedUNet
from pos.networks.unet3d.unet import UNet3D

SCHEDULER = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip


@dataclass
class Subject(ABC):
    """A model to measure.

    Attributes:
        network: arguments of its network's constructor.
        vae_channels: width of each level of its autoencoder.
        frames, height, width: of a video, in frames and pixels.
        guidance: classifier-free guidance scale.
        tokens: of a text.
    """

    network: Mapping[str, Any]
    vae_channels: Sequence[int]
    frames: int
    height: int
    width: int
    guidance: float
    tokens: int = 77
    name: str = field(init=False)

    @abstractmethod
    def build_network(self) -> nn.Module:
        """Our network."""

    @abstractmethod
    def text_shapes(self) -> dict[str, tuple[int, ...]]:
        """The conditioning tensors of one prompt."""

    def pipeline(self, network: nn.Module, vae: AutoencoderKL) -> DiffusersPipeline | None:  # noqa: ARG002
        """diffusers' pipeline over copies of the same weights; None where diffusers has none."""
        return None

    def build_vae(self) -> AutoencoderKL:
        """Stable Diffusion's autoencoder."""
        channels = list(self.vae_channels)
        return AutoencoderKL(
            block_out_channels=channels,
            down_block_types=["DownEncoderBlock2D"] * len(channels),
            up_block_types=["UpDecoderBlock2D"] * len(channels),
            layers_per_block=2,
            latent_channels=4,
            norm_num_groups=min(32, channels[0]),
            scaling_factor=0.18215,
        )


class DiffusersPipeline(ABC):
    """A pipeline of diffusers that starts from given latents and text embeddings."""

    def __init__(self, pipeline: Any) -> None:
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline = pipeline

    def cast(self, dtype: torch.dtype) -> None:
        """Run in another precision."""
        for part in (self.pipeline.unet, self.pipeline.vae):
            nn.Module.to(part, dtype)  # diffusers' own ``to`` warns of every cast

    @abstractmethod
    def forward(self, latents: Tensor, timestep: float, text: dict[str, Tensor]) -> Tensor:
        """The network's output, shaped as our latents (b, c, f, h, w)."""

    @abstractmethod
    def sample(
        self, latents: Tensor, text: dict[str, Tensor], empty: dict[str, Tensor], steps: int, guidance: float
    ) -> Tensor:
        """The clean latents (b, c, f, h, w)."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Pixels, as the pipeline makes them of its latents."""


class ModelScope(Subject):
    """ModelScope's size: 16 frames of 256x256."""

    name = "modelscope"

    def build_network(self) -> UNet3D:
        return UNet3D(**self.network)

    def text_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"context": (self.tokens, self.build_meta().config["cross_attention_dim"])}

    def build_meta(self) -> UNet3D:
        with torch.device("meta"):
            return self.build_network()

    def pipeline(self, network: UNet3D, vae: AutoencoderKL) -> DiffusersPipeline:
        from diffusers import TextToVideoSDPipeline

        config = network.config
        kinds = [
            "CrossAttnDownBlock3D" if attends else "DownBlock3D" for attends in config["attention_levels"]
        ]
        unet = UNet3DConditionModel(
            in_channels=config["in_channels"],
            out_channels=config["in_channels"],
            block_out_channels=config["block_out_channels"],
            down_block_types=kinds,
            up_block_types=[kind.replace("Down", "Up") for kind in reversed(kinds)],
            layers_per_block=config["layers_per_block"],
            attention_head_dim=config["head_dim"],
            cross_attention_dim=config["cross_attention_dim"],
            norm_num_groups=config["groups"],
        )
        unet.load_state_dict(network.state_dict())
        scheduler = DDIMScheduler(**SCHEDULER)
        return VideoPipeline(TextToVideoSDPipeline(vae, None, None, unet.eval(), scheduler))


class VideoPipeline(DiffusersPipeline):
    """TextToVideoSDPipeline."""

    def forward(self, latents: Tensor, timestep: float, text: dict[str, Tensor]) -> Tensor:
        return self.pipeline.unet(latents, timestep, text["context"]).sample

    def sample(
        self, latents: Tensor, text: dict[str, Tensor], empty: dict[str, Tensor], steps: int, guidance: float
    ) -> Tensor:
        factor = self.pipeline.vae_scale_factor
        return self.pipeline(
            height=latents.shape[3] * factor,
            width=latents.shape[4] * factor,
            num_frames=latents.shape[2],
            num_inference_steps=steps,
            guidance_scale=guidance,
            latents=latents,
            prompt_embeds=text["context"],
            negative_prompt_embeds=empty["context"],
            output_type="latent",
        ).frames

    def decode(self, latents: Tensor) -> Tensor:
        video = self.pipeline.decode_latents(latents)
        return self.pipeline.video_processor.postprocess_video(video=video, output_type="pt").cpu()


class SCVideo(Subject):
    """SCVideo at Stable Diffusion 1.4's size, which diffusers does not have."""

    name = "scvideo"

    def build_network(self) -> InflatedUNet:
        return InflatedUNet(**self.network)

    def text_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"context": (self.tokens, self.network["cross_attention_dim"])}


class StableDiffusionXL(Subject):
    """Stable Diffusion XL's size: an image of 1024x1024, a video of one frame."""

    name = "sdxl"

    def build_network(self) -> ImageUNet:
        return ImageUNet(UNet2DConditionModel(**self.network), 2 ** (len(self.vae_channels) - 1))

    def text_shapes(self) -> dict[str, tuple[int, ...]]:
        sizes = 6 * self.network["addition_time_embed_dim"]
        pooled = self.network["projection_class_embeddings_input_dim"] - sizes
        return {"context": (self.tokens, self.network["cross_attention_dim"]), "pooled": (pooled,)}

    def pipeline(self, network: ImageUNet, vae: AutoencoderKL) -> DiffusersPipeline:
        from diffusers import StableDiffusionXLPipeline

        unet = UNet2DConditionModel(**self.network)
        unet.load_state_dict(network.unet.state_dict())
        parts = (vae, None, None, None, None, unet.eval(), DDIMScheduler(**SCHEDULER))
        return ImagePipeline(StableDiffusionXLPipeline(*parts, add_watermarker=False))


class ImagePipeline(DiffusersPipeline):
    """StableDiffusionXLPipeline."""

    def forward(self, latents: Tensor, timestep: float, text: dict[str, Tensor]) -> Tensor:
        return ImageUNet(self.pipeline.unet, self.pipeline.vae_scale_factor)(latents, timestep, **text)

    def sample(
        self, latents: Tensor, text: dict[str, Tensor], empty: dict[str, Tensor], steps: int, guidance: float
    ) -> Tensor:
        factor = self.pipeline.vae_scale_factor
        images = self.pipeline(
            height=latents.shape[3] * factor,
            width=latents.shape[4] * factor,
            num_inference_steps=steps,
            guidance_scale=guidance,
            latents=latents.squeeze(2),
            prompt_embeds=text["context"],
            pooled_prompt_embeds=text["pooled"],
            negative_prompt_embeds=empty["context"],
            negative_pooled_prompt_embeds=empty["pooled"],
            output_type="latent",
        ).images
        return images.unsqueeze(2)

    def decode(self, latents: Tensor) -> Tensor:
        vae = self.pipeline.vae
        images = vae.decode(latents.squeeze(2).to(vae.dtype) / vae.config.scaling_factor).sample
        return self.pipeline.image_processor.postprocess(images, output_type="pt").cpu()
