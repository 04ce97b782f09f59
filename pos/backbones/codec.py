"""Pixels to latents and back through an image autoencoder: the one place that knows range and scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pos.errors import PosError
from pos.networks.autoencoder import to_pixels, to_unit_range

if TYPE_CHECKING:
    from pos.networks.autoencoder import Autoencoder


def spatial_factor(vae: Autoencoder) -> int:
    """Pixels of a latent's side."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


class FrameCodec:
    """A frozen KL autoencoder applied to every frame of a video.

    Args:
        vae: its ``scaling_factor`` gives the latents their scale.
        device, dtype: where and in which precision it runs; latents are float32 all the same.
        frames_at_once: frames worked on together; bounds the memory and changes no result.
    """

    def __init__(
        self, vae: Autoencoder, device: torch.device, dtype: torch.dtype, frames_at_once: int = 256
    ) -> None:
        # Past diffusers' own ``to``, which warns of every cast even where no layer has to stay in float32.
        nn.Module.to(vae, device, dtype, memory_format=torch.channels_last)
        self.vae = vae.eval().requires_grad_(False)
        self.device, self.dtype, self.frames_at_once = device, dtype, frames_at_once
        self.scale: float = vae.config.scaling_factor
        self.channels: int = vae.config.latent_channels
        self.factor = spatial_factor(vae)

    @torch.no_grad()
    def encode(self, videos: Tensor) -> Tensor:
        """uint8 (b, f, 3, height, width) to the scaled posterior means (b, c, f, h, w), float32.

        Raises:
            PosError: a height or width that the autoencoder does not divide; latents that are not finite.
        """
        height, width = videos.shape[3:]
        if height % self.factor or width % self.factor:
            raise PosError(f"Videos of {height}x{width} pixels do not divide into latents of {self.factor}.")
        means = [
            self.vae.encode(to_unit_range(frames.to(self.device)).to(self.dtype)).latent_dist.mean
            for frames in videos.flatten(0, 1).split(self.frames_at_once)
        ]
        latents = torch.cat(means).float() * self.scale
        self._check(latents.isfinite().all(), "latents")
        return latents.unflatten(0, videos.shape[:2]).transpose(1, 2)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(b, c, f, h, w) to uint8 (b, f, 3, height, width), on the CPU.

        Raises:
            PosError: pixels that are not finite.
        """
        frames = latents.transpose(1, 2).flatten(0, 1) / self.scale
        # Read back once: a check or a copy after each chunk would make the GPU wait for the processor.
        pixels, finite = zip(*map(self._pixels, frames.split(self.frames_at_once)), strict=True)
        self._check(torch.stack(finite).all(), "pixels")
        return torch.cat(pixels).cpu().unflatten(0, (len(latents), -1))

    def _pixels(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 images on the device, and whether they are finite."""
        images = self.vae.decode(latents.to(self.device, self.dtype)).sample
        return to_pixels(images), images.isfinite().all()

    def _check(self, finite: Tensor, what: str) -> None:
        if not finite:
            raise PosError(f"The autoencoder's {what} are not finite in {self.dtype}: use another precision.")
