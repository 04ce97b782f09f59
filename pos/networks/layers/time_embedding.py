"""Sinusoidal embeddings of timesteps and frames (Ho et al. 2020), and the MLP that follows them in a UNet.

The numbers and the names of the weights are diffusers', whose modules take longer to import than torch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

PERIOD = 10_000  # of the slowest sinusoid, in radians per step


def sinusoids(positions: Tensor, dim: int, shift: float = 1.0) -> Tensor:
    """Positions (n,) to (n, dim), float32: sines, then cosines, a zero at the end where dim is odd.

    Args:
        positions: timesteps or indices of frames.
        dim: length of an embedding.
        shift: subtracted from the number of frequencies that the exponent is divided by.
    """
    half = dim // 2
    exponents = -math.log(PERIOD) * torch.arange(half, dtype=torch.float32, device=positions.device)
    angles = positions[:, None].float() * torch.exp(exponents / (half - shift))[None]
    return nn.functional.pad(torch.cat([angles.sin(), angles.cos()], dim=-1), (0, dim % 2))


class Timesteps(nn.Module):
    """Timesteps (b,) to (b, dim), float32, as Stable Diffusion has them: cosines first.

    Args:
        dim: length of an embedding, even.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, timesteps: Tensor) -> Tensor:
        sines, cosines = sinusoids(timesteps, self.dim, shift=0).chunk(2, dim=-1)
        return torch.cat([cosines, sines], dim=-1)


class TimestepEmbedding(nn.Module):
    """Linear, SiLU, linear: (b, dim) to (b, width)."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(dim, width)
        self.act = nn.SiLU()
        self.linear_2 = nn.Linear(width, width)

    def forward(self, embedded: Tensor) -> Tensor:
        return self.linear_2(self.act(self.linear_1(embedded)))
