"""A backbone whose denoiser is exact: videos Gaussian around the colour that a prompt names."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from pos.backbones.base import Backbone, Conditioning, Defaults
from pos.diffusion.levels import Level, LevelTable, ddim_levels
from pos.storage import content_hash

COLOURS = {"red": (1.0, -1.0, -1.0), "green": (-1.0, 1.0, -1.0), "blue": (-1.0, -1.0, 1.0)}
SPREAD = 0.1  # standard deviation of the data around its colour
LIMIT = 20  # words that a prompt may have

log = logging.getLogger(__name__)


class ColourBackbone(Backbone):
    """Latents are pixels in [-1, 1]. A prompt's data is N(its colour, SPREAD^2), or around 0."""

    name = "colour"

    def __init__(self, frames: int = 2, size: int = 4, device: str = "cpu", precision: str = "fp32") -> None:
        self.defaults = Defaults(frames=frames, height=size, width=size, steps=4, guidance=1.0, fps=8.0)
        self.fingerprint = content_hash("colour", frames, size)
        self.device = torch.device("cpu" if device == "auto" else device)
        self.dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]

    def encode_text(self, prompts: Sequence[str]) -> Conditioning:
        rows = [self._colour(prompt) for prompt in prompts]
        return Conditioning({"colour": torch.tensor(rows)})

    def _colour(self, prompt: str) -> tuple[float, float, float]:
        words = prompt.split()
        if len(words) > LIMIT:
            log.warning("Only the first %d words of a prompt are read.", LIMIT)
        return next((COLOURS[word] for word in words[:LIMIT] if word in COLOURS), (0.0, 0.0, 0.0))

    def encode(self, videos: Tensor) -> Tensor:
        return (videos.float() / 127.5 - 1).transpose(1, 2)

    def predict(self, latents: Tensor, level: Level, conditioning: Conditioning) -> Tensor:
        mean = level.signal * conditioning.tensors["colour"][:, :, None, None, None]
        return level.noise / (level.signal**2 * SPREAD**2 + level.noise**2) * (latents - mean)

    def decode(self, latents: Tensor) -> Tensor:
        return ((latents.transpose(1, 2) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def levels(self, steps: int) -> LevelTable:
        return ddim_levels(steps)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        return 3, frames, height, width
