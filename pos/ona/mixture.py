"""Mixing the base noise with the guided noise (Eq. 4), and statistics of noises."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pos.errors import PosError


def check_eta(eta: float) -> None:
    """Raise a PosError unless eta is a number from 0 to inf."""
    if not (isinstance(eta, (int, float)) and eta >= 0):
        raise PosError(f"eta={eta} is not allowed: it weighs the guided noise, 0 to inf.")


def mix(eps: Tensor, eps_inv: Tensor, eta: float, variance_preserving: bool = False) -> Tensor:
    """``eps_mix = (eps + eta * eps_inv) / sqrt(1 + eta^2)`` (Eq. 4).

    Args:
        eps: base noise N(0, I), (b, c, f, h, w).
        eps_inv: guided noise, the same shape: inverted (Eq. 2) or predicted (NPNet).
        eta: 0 gives ``eps`` itself, ``inf`` gives ``eps_inv`` itself.
        variance_preserving: first divide every sample of ``eps_inv`` by its standard deviation. Inverted
            noise does not have unit variance (0.77 to 1.18 measured), and so neither has Eq. 4's mixture.

    Raises:
        PosError: eta negative or NaN; different shapes.
    """
    check_eta(eta)
    if eps.shape != eps_inv.shape:
        raise PosError(f"Noises of shapes {tuple(eps.shape)} and {tuple(eps_inv.shape)} cannot be mixed.")
    if eta == 0:
        return eps
    if variance_preserving:
        eps_inv = eps_inv / eps_inv.std(dim=tuple(range(1, eps_inv.ndim)), keepdim=True)
    if math.isinf(eta):
        return eps_inv
    length = math.hypot(1, eta)
    return eps * (1 / length) + eps_inv * (eta / length)


@dataclass(frozen=True)
class NoiseStatistics:
    """Statistics of one noise (c, f, h, w).

    Attributes:
        mean, std: over all values.
        channel_std: of each of the c channels.
        ks_distance: Kolmogorov-Smirnov distance from the normal distribution, 0 to 1; None in files written
            before it was measured.
    """

    mean: float
    std: float
    channel_std: list[float]
    ks_distance: float | None = None


def noise_statistics(noises: Tensor) -> list[NoiseStatistics]:
    """Statistics of each noise of a batch (b, c, f, h, w), computed together on the device of the batch."""
    values, channels = noises.flatten(1), noises.flatten(2)
    columns = values.mean(1), values.std(1), channels.std(2), ks_distance(values)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [NoiseStatistics(*row) for row in rows]


def ks_distance(values: Tensor) -> Tensor:
    """The Kolmogorov-Smirnov distance of standardised values from N(0, 1), from 0 (normal) to 1.

    It is the largest difference between the two distribution functions. Since the values are standardised it
    measures the shape of the distribution alone. n independent normal draws have about 0.6 / sqrt(n).

    Args:
        values: (b, n), n values of each sample.

    Returns:
        (b,).
    """
    standard = (values - values.mean(1, keepdim=True)) / values.std(1, keepdim=True)
    expected = torch.special.ndtr(standard.sort(1).values)
    steps = torch.linspace(0, 1, values.shape[1] + 1, device=values.device)
    return torch.maximum(steps[1:] - expected, expected - steps[:-1]).amax(1)
