"""Mixing the base noise with the guided noise (Eq. 4), and statistics of noises."""

from __future__ import annotations

import math
from typing import Any

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


def noise_statistics(noise: Tensor) -> dict[str, Any]:
    """Mean, std, per-channel std and normality of noises (b, c, f, h, w), as JSON-able numbers."""
    channels = noise.transpose(0, 1).flatten(1)
    return {
        "mean": float(noise.mean()),
        "std": float(noise.std()),
        "channel_std": channels.std(dim=1).tolist(),
        "ks_distance": ks_distance(noise),
    }


def ks_distance(values: Tensor) -> float:
    """The Kolmogorov-Smirnov distance of standardised values from N(0, 1), from 0 (normal) to 1.

    It is the largest difference between the two distribution functions. Since the values are standardised it
    measures the shape of the distribution alone. n independent normal draws have about 0.6 / sqrt(n).
    """
    ordered = ((values - values.mean()) / values.std()).flatten().sort().values
    expected = torch.special.ndtr(ordered)
    steps = torch.linspace(0, 1, len(ordered) + 1, device=values.device)
    return float(torch.maximum(steps[1:] - expected, expected - steps[:-1]).max())
