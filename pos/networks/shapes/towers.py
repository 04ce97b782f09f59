"""The visual trunk of the small Shapes networks: convolutions for a frame, a transformer over frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pos.errors import PosError

_GROUPS = 4
_STRIDE = 8


class FrameTower(nn.Module):
    """Each frame of a video to a vector.

    Pixels are folded 2x2 into channels (nothing is lost and no full-resolution activation is kept), then
    three stages of a convolution and a residual convolution lead to an 8 times smaller grid. The vector reads
    both the mean over the grid (what is there) and a thin copy of the grid itself (where it is): a motion is
    encoded by positions, which a mean loses.

    Args:
        widths: channels of the three stages, multiples of 4.
        dim: length of the vector.
        grid: channels of the thin copy of the grid.
        size: height and width of a frame in pixels, a multiple of 8.
    """

    def __init__(self, widths: Sequence[int], dim: int, grid: int, size: int = 64) -> None:
        super().__init__()
        self.fold = nn.PixelUnshuffle(2)
        channels = [12, *widths[:2]]
        self.stages = nn.Sequential(*map(_Stage, channels, widths, [1, 2, 2], [False, True, True]))
        self.thin = nn.Conv2d(widths[-1], grid, 1)
        self.project = nn.Linear(widths[-1] + grid * (size // _STRIDE) ** 2, dim)

    def forward(self, videos: Tensor) -> Tensor:
        """uint8 (b, f, 3, size, size) to (b, f, dim)."""
        frames = videos.flatten(0, 1).to(self.thin.weight.dtype).div(127.5).sub(1)
        maps = self.stages(self.fold(frames))
        vectors = self.project(torch.cat([maps.mean((-2, -1)), self.thin(maps).flatten(1)], dim=1))
        return vectors.unflatten(0, videos.shape[:2])


class _Stage(nn.Module):
    """A convolution and a residual one.

    The first convolution on pixels is not normalised: a norm over a frame would take its brightness away,
    which alone separates a grey background from a black one.
    """

    def __init__(self, channels: int, width: int, stride: int, normalise: bool) -> None:
        super().__init__()
        norm = nn.GroupNorm(_GROUPS, width) if normalise else nn.Identity()
        self.enter = nn.Sequential(nn.Conv2d(channels, width, 3, stride, padding=1), norm, nn.SiLU())
        self.refine = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(_GROUPS, width), nn.SiLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return x + self.refine(x)


class TemporalMixer(nn.Module):
    """Frame vectors to one vector a video: a pre-norm transformer with frame positions, then the mean.

    Args:
        dim: length of the vectors, a multiple of 32 (heads are 32 wide).
        layers: transformer layers.
        frames: the longest video in frames.
        neighbours: a residual convolution over three frames comes first, so that every vector knows its
            velocity: with the position it gives the sense of a rotation, which attention alone learns late.
    """

    def __init__(self, dim: int, layers: int, frames: int = 16, neighbours: bool = False) -> None:
        super().__init__()
        self.neighbours = nn.Conv1d(dim, dim, 3, padding=1) if neighbours else None
        self.positions = nn.Parameter(torch.randn(frames, dim) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, dim // 32, 2 * dim, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )

    def forward(self, vectors: Tensor) -> Tensor:
        """(b, f, dim) to (b, dim)."""
        if self.neighbours is not None:
            vectors = vectors + self.neighbours(vectors.transpose(1, 2)).transpose(1, 2)
        most, frames = len(self.positions), vectors.shape[1]
        if frames > most:
            raise PosError(f"This network looks at up to {most} frames of a video, not at {frames}.")
        vectors = vectors + self.positions[:frames]
        for layer in self.layers:
            vectors = layer(vectors)
        return vectors.mean(1)
