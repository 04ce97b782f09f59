"""Denoisers with a closed form (a Gaussian, a mixture of Gaussians), and what the exact ODE does to them."""

from __future__ import annotations

import torch
from torch import Tensor

from pos.diffusion.levels import Level, LevelTable, Prediction


def raw_output(prediction: Prediction, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
    """What a network of this prediction type puts out when it knows (x_0, eps)."""
    if prediction == "epsilon":
        return eps
    return level.signal * eps - level.noise * x0 if prediction == "v" else eps - x0


class Gaussian:
    """Data N(mean, std^2) in every element: the exact denoiser and the exact probability-flow ODE."""

    def __init__(self, mean: float, std: float, prediction: Prediction = "epsilon") -> None:
        self.mean, self.std, self.prediction = mean, std, prediction

    def moments(self, level: Level) -> tuple[float, float]:
        return level.signal * self.mean, (level.signal**2 * self.std**2 + level.noise**2) ** 0.5

    def __call__(self, x: Tensor, level: Level, _index: int = 0) -> Tensor:
        mean, std = self.moments(level)
        x0 = self.mean + level.signal * self.std**2 / std**2 * (x - mean)
        return raw_output(self.prediction, x0, level.noise / std**2 * (x - mean), level)

    def transport(self, x: Tensor, start: Level, end: Level) -> Tensor:
        """Where the ODE takes ``x``: its standard score never changes."""
        (mean, std), (end_mean, end_std) = self.moments(start), self.moments(end)
        return end_mean + end_std / std * (x - mean)


class Mixture:
    """Data that is in every element an equal mixture of Gaussians; the ODE keeps its quantiles."""

    def __init__(self, means: list[float], std: float) -> None:
        self.means, self.std = torch.tensor(means, dtype=torch.float64), std

    def __call__(self, x: Tensor, level: Level, _index: int = 0) -> Tensor:
        variance = level.signal**2 * self.std**2 + level.noise**2
        offsets = x.unsqueeze(-1) - level.signal * self.means.to(x.dtype)
        weights = torch.softmax(-(offsets**2) / (2 * variance), dim=-1)
        return level.noise / variance * (weights * offsets).sum(-1)

    def quantile(self, x: Tensor, level: Level) -> Tensor:
        std = (level.signal**2 * self.std**2 + level.noise**2) ** 0.5
        scores = (x.double().unsqueeze(-1) - level.signal * self.means) / std
        return torch.special.ndtr(scores).mean(-1)


def flow_levels(steps: int) -> LevelTable:
    """Rectified flow: signal 1 - t, noise t, pure noise at the start."""
    return LevelTable(tuple(Level(k / steps, 1 - k / steps, k / steps) for k in range(steps + 1)), "flow")


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def relative(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())
