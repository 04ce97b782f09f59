"""Diffusion over the latents of an image autoencoder: what every model of the paper is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pos.backbones.base import Backbone, Conditioning, Defaults
from pos.backbones.codec import FrameCodec
from pos.backbones.text import TextEncoder
from pos.devices import bound_threads, memory_advice, resolve_device, resolve_precision
from pos.diffusion.levels import Level, LevelTable
from pos.errors import PosError
from pos.networks.acceleration import Acceleration, accelerate, channels_last

if TYPE_CHECKING:
    from pos.networks.autoencoder import Autoencoder


class LatentDiffusion(Backbone):
    """A text-conditioned UNet over the latents of an image autoencoder.

    Args:
        unet: ``forward(latents (b, c, f, h, w), timesteps (b,), **conditioning)`` to the raw output, shaped
            as the latents; the names of the conditioning tensors are those of its keywords.
        vae: KL autoencoder of single frames; its ``scaling_factor`` gives the latents their scale.
        text: prompts to the conditioning tensors.
        name: for provenance.
        defaults: what the model was trained for.
        fingerprint: hash of all weights, and of all else that changes the output.
        levels: T to the level table, for instance a partial of ``ddim_levels``.
        unit: pixels that height and width are multiples of.
        device: ``auto``, ``cpu``, ``cuda``, ...
        precision: ``fp32``, ``fp16`` or ``bf16``.
        vae_precision: of the autoencoder alone; None is that of the rest.
        decode_chunk: frames that the autoencoder works on together; fewer need less memory.
        acceleration: how the network runs faster: ``none``, ``graph`` (a GPU's), ``compile``, or ``auto``.

    Raises:
        PosError: a device that is not there or has too little memory, an unknown precision or acceleration, a
            chunk of no frames.
    """

    def __init__(
        self,
        unet: nn.Module,
        vae: Autoencoder,
        text: TextEncoder,
        *,
        name: str,
        defaults: Defaults,
        fingerprint: str,
        levels: Callable[[int], LevelTable],
        unit: int,
        device: str | torch.device = "auto",
        precision: str = "fp32",
        vae_precision: str | None = None,
        decode_chunk: int = 256,
        acceleration: Acceleration = "none",
    ) -> None:
        self.name, self.defaults, self.fingerprint = name, defaults, fingerprint
        self.device, self.dtype = resolve_device(device), resolve_precision(precision)
        bound_threads(self.device)
        vae_dtype = resolve_precision(vae_precision or precision)
        if decode_chunk < 1:
            raise PosError(f"decode_chunk={decode_chunk} is not allowed: at least one frame at a time.")
        self.text, self.unit, self._levels = text, unit, levels
        with memory_advice(f"the networks of {name} on {self.device} in {precision}: choose precision=fp16"):
            self.unet = unet.to(self.device, self.dtype).eval().requires_grad_(False)
            channels_last(self.unet)
            self.codec = FrameCodec(vae, self.device, vae_dtype, decode_chunk)
            text.to(self.device, self.dtype)
        self._forward = accelerate(self.unet, acceleration, self.device)

    def encode_text(self, prompts: Sequence[str]) -> Conditioning:
        return Conditioning(self.text(prompts))

    def encode(self, videos: Tensor) -> Tensor:
        self.latent_shape(videos.shape[1], *videos.shape[3:])
        return self.codec.encode(videos)

    def decode(self, latents: Tensor) -> Tensor:
        return self.codec.decode(latents)

    @torch.no_grad()
    def predict(self, latents: Tensor, level: Level, conditioning: Conditioning) -> Tensor:
        timesteps = torch.full((len(latents),), level.timestep, device=self.device)
        raw = self._forward(latents.to(self.dtype), timesteps, **conditioning.tensors)
        return raw.to(latents.dtype)

    def levels(self, steps: int) -> LevelTable:
        return self._levels(steps)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(c, f, h, w) of one video's latents.

        Raises:
            PosError: no frames, or a size that the autoencoder and the levels of the network do not divide.
        """
        if frames < 1:
            raise PosError(f"frames={frames} is not possible: a video has at least 1.")
        unit = self.unit
        if height < unit or width < unit or height % unit or width % unit:
            raise PosError(f"height={height}, width={width} is not possible: multiples of {unit} pixels are.")
        return self.codec.channels, frames, height // self.codec.factor, width // self.codec.factor
