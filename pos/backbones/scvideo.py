"""SCVideo, the paper's own text-to-video model (arXiv 2311.00949): an inflated image UNet over latents.

The same class in two sizes: small, on the Shapes world, with weights that this repository ships and can
train; and at the size of Stable Diffusion 1.4, whose autoencoder and text encoder it then uses.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerBase

from pos.backbones.base import Backbone, Conditioning, Defaults
from pos.backbones.codec import FrameCodec
from pos.diffusion.levels import Level, LevelTable, Schedule
from pos.errors import PosError
from pos.networks.autoencoder import load_autoencoder
from pos.networks.inflated_unet import InflatedUNet, load_unet, unet2d_config
from pos.networks.placement import resolve_device, resolve_precision
from pos.networks.shapes_clip import load_clip
from pos.networks.tokenizer import dropped_text, load_tokenizer
from pos.networks.weights import load_weights
from pos.storage import content_hash, file_digest, locate

log = logging.getLogger(__name__)

SHAPES_SCHEDULE = Schedule(shift=0.15, spacing="quadratic", prediction="v", final_alpha="one")
"""What Shapes' SCVideo and NPNet are trained with (conf/experiment/shapes). A video repeats itself over frames
and places: unshifted, the mean of its latents shows 0.88 of the backgrounds at the noisiest level, and a model
learns to read them there and not in the prompt. VideoCrafter's signal scale has the same purpose."""

SHOWN = 60  # characters of a truncated prompt in a warning


class SCVideo(Backbone):
    """A noise predictor over latent videos with Stable Diffusion's levels (scaled linear, 1,000 steps).

    Args:
        unet: predicts the noise.
        vae: KL autoencoder of single frames; its ``scaling_factor`` gives the latents their scale.
        text_encoder: transformers' CLIP text model; its last hidden states are the cross-attention's context.
        tokenizer: its ``model_max_length`` is the length of every text.
        defaults: what the model was trained for.
        fingerprint: hash of all weights.
        name: for provenance.
        device: ``auto``, ``cpu``, ``cuda``, ...
        precision: ``fp32``, ``fp16`` or ``bf16``.
        schedule: noise levels and what the network predicts; the default is Stable Diffusion's.
    """

    def __init__(
        self,
        unet: InflatedUNet,
        vae: AutoencoderKL,
        text_encoder: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        *,
        defaults: Defaults,
        fingerprint: str,
        name: str = "scvideo",
        device: str | torch.device = "auto",
        precision: str = "fp32",
        schedule: Schedule = Schedule(),
    ) -> None:
        self.schedule = schedule
        self.name, self.defaults, self.fingerprint = name, defaults, fingerprint
        self.device, self.dtype = resolve_device(device), resolve_precision(precision)
        self.unet, self.text_encoder = (
            module.to(self.device, self.dtype).eval().requires_grad_(False) for module in (unet, text_encoder)
        )
        self.codec = FrameCodec(vae, self.device, self.dtype)
        self.tokenizer = tokenizer
        self._warned: set[str] = set()

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str]) -> Conditioning:
        """Text embeddings (b, n, d); too long a prompt is cut, with a warning that says what is lost."""
        for prompt in prompts:
            self._warn_of_truncation(prompt)
        tokens = tokenize(self.tokenizer, prompts).to(self.device)
        return Conditioning({"text": self.text_encoder(input_ids=tokens).last_hidden_state})

    def _warn_of_truncation(self, prompt: str) -> None:
        limit = self.tokenizer.model_max_length
        lost = dropped_text(self.tokenizer, prompt, limit)
        if lost and prompt not in self._warned:
            self._warned.add(prompt)
            log.warning(
                "The prompt '%s' is longer than the %d tokens that the text encoder reads; it drops '%s'.",
                _shown(prompt),
                limit,
                _shown(lost),
            )

    def encode(self, videos: Tensor) -> Tensor:
        self.latent_shape(videos.shape[1], *videos.shape[3:])
        return self.codec.encode(videos)

    def decode(self, latents: Tensor) -> Tensor:
        return self.codec.decode(latents)

    @torch.no_grad()
    def predict(self, latents: Tensor, level: Level, conditioning: Conditioning) -> Tensor:
        timesteps = torch.full((len(latents),), level.timestep, device=self.device)
        noise = self.unet(latents.to(self.dtype), timesteps, conditioning.tensors["text"])
        return noise.to(latents.dtype)

    def levels(self, steps: int) -> LevelTable:
        return self.schedule.levels(steps)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(c, f, h, w) of one video's latents.

        Raises:
            PosError: no frames, or a size that the autoencoder and the levels of the network do not divide.
        """
        factor = self.codec.factor
        unit = factor * 2 ** (len(self.unet.config["block_out_channels"]) - 1)
        if frames < 1:
            raise PosError(f"frames={frames} is not possible: a video has at least 1.")
        if height < unit or width < unit or height % unit or width % unit:
            raise PosError(f"height={height}, width={width} is not possible: multiples of {unit} pixels are.")
        return self.codec.channels, frames, height // factor, width // factor


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Tensor:
    """Token ids (b, model_max_length), int64, padded and truncated to that length."""
    encoded = tokenizer(
        list(texts),
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    )
    return encoded["input_ids"]


def load_shapes(
    unet: str = "shapes/scvideo.safetensors",
    autoencoder: str = "shapes/autoencoder.safetensors",
    clip: str = "shapes/clip.safetensors",
    tokenizer: str = "shapes/tokenizer.json",
    steps: int = 50,
    guidance: float = 2.0,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    compiled: bool = False,
) -> SCVideo:
    """The small SCVideo of the Shapes world: 16 frames of 64x64, latents of 16x16x8x8.

    Args:
        unet, autoencoder, clip, tokenizer: files, or names of shipped assets.
        steps, guidance: what is used where a run says nothing else.
        compiled: compile the network (torch.compile), worth its minute for thousands of videos on a GPU.

    Raises:
        PosError: a file is absent, no safetensors file, or does not fit its network.
    """
    files = [locate(name) for name in (unet, autoencoder, clip, tokenizer)]
    backbone = SCVideo(
        load_unet(files[0]),
        load_autoencoder(files[1]),
        load_clip(files[2]).text.text_model,
        load_tokenizer(files[3]),
        defaults=Defaults(frames=16, height=64, width=64, steps=steps, guidance=guidance, fps=8),
        fingerprint=_fingerprint(files),
        name="shapes",
        device=device,
        precision=precision,
        schedule=SHAPES_SCHEDULE,
    )
    if compiled:
        backbone.unet.compile()
    return backbone


def load_stable_diffusion(
    folder: str,
    unet: str,
    steps: int = 50,
    guidance: float = 9.0,
    device: str | torch.device = "auto",
    precision: str = "fp16",
) -> SCVideo:
    """SCVideo at full size: 16 frames of 256x256, over Stable Diffusion 1.4's autoencoder and text encoder.

    Args:
        folder: Stable Diffusion 1.4 in the diffusers layout (``unet/config.json``, ``vae``, ``text_encoder``,
            ``tokenizer``), weights in safetensors.
        unet: the inflated network's weights.

    Raises:
        PosError: a part is absent, no safetensors file, or does not fit.
    """
    root = Path(folder)
    config = root / "unet" / "config.json"
    files = [
        Path(unet),
        root / "vae" / "diffusion_pytorch_model.safetensors",
        root / "text_encoder" / "model.safetensors",
        root / "tokenizer" / "vocab.json",
    ]
    for path in (config, *files):
        if not path.is_file():
            raise PosError(
                f"{path} is absent: SCVideo needs Stable Diffusion 1.4 in the diffusers layout "
                "(backbone.folder) and the weights of its own network (backbone.unet)."
            )
    network = InflatedUNet(**unet2d_config(json.loads(config.read_text())))
    load_weights(network, files[0])
    local = {"use_safetensors": True, "local_files_only": True}
    try:
        parts = (
            AutoencoderKL.from_pretrained(root / "vae", low_cpu_mem_usage=False, **local),
            CLIPTextModel.from_pretrained(root / "text_encoder", **local),
            CLIPTokenizer.from_pretrained(root / "tokenizer", local_files_only=True),
        )
    except (OSError, ValueError) as error:
        raise PosError(f"{root} is not a usable Stable Diffusion folder: {error}") from error
    return SCVideo(
        network,
        *parts,
        defaults=Defaults(frames=16, height=256, width=256, steps=steps, guidance=guidance, fps=8),
        fingerprint=_fingerprint(files),
        device=device,
        precision=precision,
    )


def _fingerprint(files: Sequence[Path]) -> str:
    return content_hash(*(file_digest(path) for path in files))


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
