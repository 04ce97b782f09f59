"""Paired bootstrap: 95% intervals of metrics and of their differences between two rows of a table, without a
network pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from pos.errors import PosError
from pos.storage import content_hash

LEVEL = 0.95
_SIGNS = 1000  # permutations held at once


def check_resamples(resamples: int) -> None:
    """
    Raises:
        PosError: fewer than one.
    """
    if resamples < 1:
        raise PosError(f"resamples must be at least 1, not {resamples}.")


@dataclass(frozen=True)
class Resampling:
    """Which videos each bootstrap resample holds, and how often.

    Prompts are resampled, not videos: all seeds of a prompt enter or leave together, since they are not
    independent. Two rows resampled from the same prompts, count and seed hold the same prompts in every
    resample, which makes their comparison paired.

    Attributes:
        weights: float64 (1 + resamples, videos); row 0 is the set itself, all ones.
        key: hash of the prompts' ids in their order, the number of resamples and the seed.
    """

    weights: Tensor
    key: str

    @classmethod
    def of(cls, ids: Sequence[str], resamples: int = 500, seed: int = 0) -> Resampling:
        """Draw resamples of videos of prompts with these ids; equal ids are several seeds of one prompt."""
        if not ids:
            raise PosError("There is no video to score.")
        check_resamples(resamples)
        place = {name: column for column, name in enumerate(dict.fromkeys(ids))}
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(len(place), (resamples, len(place)), generator=generator)
        times = torch.zeros(resamples, len(place), dtype=torch.float64)
        times.scatter_add_(1, drawn, torch.ones_like(times))
        weights = times[:, [place[name] for name in ids]]
        weights = torch.cat([torch.ones_like(weights[:1]), weights])
        return cls(weights, content_hash(list(ids), resamples, seed))


def permutation_p(
    differences: Tensor, ids: Sequence[str], permutations: int = 10_000, seed: int = 0
) -> float:
    """Two-sided p-value of a paired mean difference: the share of random signs that make it as large.

    If the rows do not differ, swapping the two videos of a pair changes nothing in distribution. The signs
    are drawn for prompts: all seeds of one flip together. The given signs count too, so that p is never 0.

    Args:
        differences: (n,), of the videos of both rows.
        ids: the prompt's id of each video.
        permutations: how many signs are drawn for every prompt.
        seed: of the draws.
    """
    place = {name: column for column, name in enumerate(dict.fromkeys(ids))}
    columns = torch.tensor([place[name] for name in ids])
    sums = torch.zeros(len(place), dtype=torch.float64).index_add_(0, columns, differences.double())
    generator = torch.Generator().manual_seed(seed)
    observed, extreme = sums.sum().abs(), 1
    slack = 1e-12 * sums.abs().sum()  # equal sums may differ by rounding
    for start in range(0, permutations, _SIGNS):
        rows = min(_SIGNS, permutations - start)
        signs = torch.randint(2, (rows, len(sums)), generator=generator).double() * 2 - 1
        extreme += int(((signs @ sums).abs() >= observed - slack).sum())
    return extreme / (permutations + 1)


@dataclass(frozen=True)
class Estimate:
    """A value and its 95% interval; all NaN where it is not defined (an attribute that no prompt names), the
    interval alone where all videos are of one prompt."""

    value: float
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, Any]:
        """The fields by name; NaN becomes None."""
        entries = asdict(self).items()
        return {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in entries}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """The reverse of ``to_json``."""
        return cls(**{key: math.nan if v is None else v for key, v in entry.items()})


def interval(samples: Tensor, *, centred: bool = False) -> Estimate:
    """The estimate from a metric's samples (1 + resamples,) on a ``Resampling``, the value first.

    Args:
        samples: NaN where the metric is not defined on a resample.
        centred: take the percentiles about the value, not about the mean of the resamples. Resamples repeat
            videos, which inflates a Frechet distance, and more so for the row of larger spread: uncentred,
            the 95% interval of a difference held the expected one in 57% of simulated comparisons (64 videos,
            64 features, spreads 1 and 1.3), centred in 98%. Means do not have this bias and
            take plain percentiles.
    """
    value, resampled = samples[0], samples[1:][samples[1:].isfinite()]
    if not value.isfinite() or not len(resampled):
        return Estimate(float(value), float("nan"), float("nan"))
    tail = (1 - LEVEL) / 2
    low, high = resampled.quantile(torch.tensor([tail, 1 - tail]).to(resampled))
    shift = value - resampled.mean() if centred else 0
    return Estimate(float(value), float(low + shift), float(high + shift))
