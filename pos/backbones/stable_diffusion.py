"""Stable Diffusion 1.5 and XL: image models, that is, video models of one frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from pos.backbones.base import Defaults
from pos.backbones.codec import spatial_factor
from pos.backbones.files import DiffusersFolder, build_text
from pos.backbones.latent import LatentDiffusion
from pos.backbones.text import ClipText
from pos.errors import PosError
from pos.networks.acceleration import Acceleration
from pos.storage import content_hash

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"


class ImageDiffusion(LatentDiffusion):
    """A latent diffusion model of videos of one frame."""

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(c, 1, h, w) of one image's latents.

        Raises:
            PosError: another number of frames than 1, or a size that the autoencoder does not divide.
        """
        if frames != 1:
            raise PosError(f"frames={frames} is not possible: {self.name} makes images, videos of 1 frame.")
        return super().latent_shape(frames, height, width)


class ImageUNet(nn.Module):
    """An image UNet as a network over videos of one frame.

    Args:
        unet: diffusers' UNet2DConditionModel.
        factor: pixels of a latent's side, from which Stable Diffusion XL's size conditioning is computed.
    """

    def __init__(self, unet: UNet2DConditionModel, factor: int) -> None:
        super().__init__()
        self.unet, self.factor = unet, factor

    def forward(
        self, latents: Tensor, timesteps: Tensor, context: Tensor, pooled: Tensor | None = None
    ) -> Tensor:
        """The predicted noise.

        Args:
            latents: (b, c, 1, h, w).
            timesteps: (b,), in [0, 999].
            context: text embeddings (b, n, d).
            pooled: (b, e), the pooled text embeddings of Stable Diffusion XL.

        Returns:
            (b, c, 1, h, w)
        """
        added = {"text_embeds": pooled, "time_ids": self._sizes(latents)} if pooled is not None else None
        output = self.unet(
            latents.squeeze(2), timesteps, encoder_hidden_states=context, added_cond_kwargs=added
        )
        return output.sample.unsqueeze(2)

    def _sizes(self, latents: Tensor) -> Tensor:
        """The size conditioning of Stable Diffusion XL (Podell et al. 2023, 2.2), in pixels: (b, 6).

        Height and width that it had, where it was cropped, height and width that it has. As in diffusers'
        pipeline it is whole and always had its size.
        """
        height, width = (self.factor * side for side in latents.shape[-2:])
        sizes = torch.zeros(len(latents), 6, device=latents.device)
        for column, pixels in ((0, height), (1, width), (4, height), (5, width)):
            sizes[:, column] = pixels  # filled on the device: a CUDA graph records no copy from the host
        return sizes


class PairedText:
    """The two text encoders of Stable Diffusion XL.

    Args:
        first, second: read at their penultimate hidden states, which are concatenated; the second also gives
            the pooled embedding, so its model is a ``CLIPTextModelWithProjection``.
        zero_empty: the empty prompt becomes zeros, as the network was trained without text, and not what the
            encoders say of no words (``force_zeros_for_empty_prompt`` of diffusers' pipeline).
    """

    def __init__(self, first: ClipText, second: ClipText, zero_empty: bool) -> None:
        self.first, self.second, self.zero_empty = first, second, zero_empty

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        self.first.to(device, dtype)
        self.second.to(device, dtype)

    def __call__(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """{"context": (b, n, d1 + d2), "pooled": (b, d2)}."""
        first, second = self.first.encode(prompts), self.second.encode(prompts)
        context = torch.cat([self.first.context(first), self.second.context(second)], dim=-1)
        encoded = {"context": context, "pooled": second.text_embeds}
        if self.zero_empty:
            for row, prompt in enumerate(prompts):
                if not prompt:
                    for tensor in encoded.values():
                        tensor[row] = 0
        return encoded


def load_sd15(
    folder: str = SD15,
    steps: int = 50,
    guidance: float = 7.5,
    device: str | torch.device = "auto",
    precision: str = "fp16",
    decode_chunk: int = 8,
    acceleration: Acceleration = "none",
) -> ImageDiffusion:
    """Stable Diffusion 1.5 (and 1.4): images of 512x512.

    Args:
        folder: the published model in the diffusers layout, a local folder or a hub id in the local cache;
            weights in safetensors, whole or in half precision.
        steps, guidance: what is used where a run says nothing else.
        decode_chunk: images that the autoencoder works on together.
        acceleration: ``none``, ``graph`` (a GPU's), ``compile`` or ``auto``.

    Raises:
        PosError: a part is absent, no safetensors file, or does not fit; another model.
    """
    published = DiffusersFolder(folder, "Stable Diffusion 1.5", SD15)
    if published.config("unet/config.json").get("addition_embed_type") is not None:
        raise PosError(
            f"{folder} holds no Stable Diffusion 1.x: for Stable Diffusion XL choose backbone=sdxl."
        )
    vae = published.vae()
    factor = spatial_factor(vae)
    return ImageDiffusion(
        ImageUNet(published.load("unet", UNet2DConditionModel.from_config), factor),
        vae,
        published.text(),
        name="sd15",
        defaults=Defaults(frames=1, height=512, width=512, steps=steps, guidance=guidance, fps=1),
        fingerprint=published.fingerprint("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
        levels=published.levels(),
        unit=factor,
        device=device,
        precision=precision,
        decode_chunk=decode_chunk,
        acceleration=acceleration,
    )


def load_sdxl(
    folder: str = SDXL,
    steps: int = 50,
    guidance: float = 5.0,
    device: str | torch.device = "auto",
    precision: str = "fp16",
    decode_chunk: int = 1,
    acceleration: Acceleration = "none",
) -> ImageDiffusion:
    """Stable Diffusion XL, the base model alone: images of 1024x1024.

    Its published autoencoder overflows in fp16 and says so (``force_upcast``): it then runs in fp32.

    Args:
        folder: the published model in the diffusers layout, a local folder or a hub id in the local cache;
            weights in safetensors, whole or in half precision.
        steps, guidance: what is used where a run says nothing else.
        decode_chunk: images that the autoencoder works on together.
        acceleration: ``none``, ``graph`` (a GPU's), ``compile`` or ``auto``.

    Raises:
        PosError: a part is absent, no safetensors file, or does not fit.
    """
    published = DiffusersFolder(folder, "Stable Diffusion XL", SDXL)
    vae = published.vae()
    factor = spatial_factor(vae)
    second = published.load("text_encoder_2", _build_projected)
    text = PairedText(
        ClipText(published.load("text_encoder", build_text), published.tokenizer("tokenizer"), "penultimate"),
        ClipText(second, published.tokenizer("tokenizer_2"), "penultimate"),
        zero_empty=published.config("model_index.json").get("force_zeros_for_empty_prompt", True),
    )
    parts = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
    return ImageDiffusion(
        ImageUNet(published.load("unet", UNet2DConditionModel.from_config), factor),
        vae,
        text,
        name="sdxl",
        defaults=Defaults(frames=1, height=1024, width=1024, steps=steps, guidance=guidance, fps=1),
        fingerprint=content_hash(published.fingerprint(*parts), text.zero_empty),
        levels=published.levels(),
        unit=factor,
        device=device,
        precision=precision,
        vae_precision="fp32" if precision == "fp16" and vae.config.force_upcast else None,
        decode_chunk=decode_chunk,
        acceleration=acceleration,
    )


def _build_projected(config: dict[str, Any]) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(CLIPTextConfig(**config))
