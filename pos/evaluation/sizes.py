"""The small-sample bias of Frechet distances: the distance at several numbers of videos, and its limit at
infinitely many (Chong & Forsyth 2020, "Effectively unbiased FID and Inception Score")."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pos.evaluation.features import FeatureSet
from pos.evaluation.reference import Reference
from pos.metrics.frechet import FeatureStatistics
from pos.metrics.registry import get_metric

PARTS = (8, 4, 2, 1)  # the set is divided by these
_LINEAR = 2  # vectors a feature, from which on the bias goes as 1 / n: from one it still bends


@dataclass(frozen=True)
class Sizes:
    """A distance at several numbers of videos, from the same features.

    Attributes:
        videos: how many, ascending; the last is the whole set.
        values: the distance at each, the mean over random subsets.
        limit: at infinitely many, by a line in 1 / n; None where too few sizes lie on a line.
        extrapolated: whether the limit was requested; ``to_json`` leaves it out otherwise.
    """

    videos: list[int]
    values: list[float]
    limit: float | None
    extrapolated: bool = True

    def to_json(self) -> dict[str, Any]:
        """``videos``, ``values`` and, where it was requested, ``limit``."""
        sizes = {"videos": self.videos, "values": self.values}
        return {**sizes, "limit": self.limit} if self.extrapolated else sizes

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Sizes:
        """The reverse of ``to_json``."""
        return cls(entry["videos"], entry["values"], entry.get("limit"), "limit" in entry)


def distances_by_size(
    features: FeatureSet,
    reference: Reference,
    metrics: Collection[str],
    draws: int = 10,
    seed: int = 0,
    extrapolate: bool = True,
) -> dict[str, Sizes]:
    """The distances of random subsets of a set of videos, by metric; no network runs.

    Subsets are drawn without replacement and hold all seeds of a prompt or none, so that their videos are as
    dependent as those of the whole set, whose bias they show.

    Args:
        features: of the whole set.
        reference: of the same detectors.
        metrics: names of registered metrics; those without ``Metric.distance`` are left out.
        draws: subsets of each size.
        seed: of the subsets, which are the same for all metrics.
        extrapolate: whether the limit at infinitely many videos is computed.
    """
    subsets = _subsets(features.ids, draws, torch.Generator().manual_seed(seed))
    found = {}
    for name in metrics:
        metric = get_metric(name)
        if metric.distance is not None:
            rows, real = features.tensors[metric.row], reference.statistics[metric.detector]
            values = [_mean(metric.distance, rows, real, drawn) for drawn in subsets.values()]
            dims, videos = rows.shape[-1], list(subsets)
            vectors = rows[0].numel() // dims
            linear = [n * vectors >= _LINEAR * dims for n in videos]
            limit = _limit(videos, values, linear) if extrapolate else None
            found[name] = Sizes(videos, values, limit, extrapolate)
    return found


def _subsets(ids: list[str], draws: int, generator: torch.Generator) -> dict[int, list[Tensor]]:
    """Indices of the videos of every subset, by their number; the whole set is one subset."""
    place = {name: index for index, name in enumerate(dict.fromkeys(ids))}
    prompt = torch.tensor([place[name] for name in ids])
    subsets = {}
    for part in PARTS:
        count = len(place) // part
        drawn = [
            torch.isin(prompt, torch.randperm(len(place), generator=generator)[:count]).nonzero()[:, 0]
            for _ in range(draws if part > 1 else 1)
        ]
        videos = round(sum(map(len, drawn)) / len(drawn))
        if min(map(len, drawn)) > 1:
            subsets[videos] = drawn
    return subsets


def _mean(
    distance: Callable[[FeatureStatistics, FeatureStatistics], float],
    rows: Tensor,
    reference: FeatureStatistics,
    subsets: list[Tensor],
) -> float:
    distances = [distance(FeatureStatistics.of(rows[subset]), reference) for subset in subsets]
    return sum(distances) / len(distances)


def _limit(videos: list[int], values: list[float], linear: list[bool]) -> float | None:
    """Where the line in 1 / n meets 0; sets are weighted by n, since larger ones are closer to it."""
    points = [(n, value) for n, value, fits in zip(videos, values, linear, strict=True) if fits]
    if len(points) < 2:
        return None
    count, value = torch.tensor(points, dtype=torch.float64).T
    design = torch.stack([torch.ones_like(count), 1 / count], 1) * count[:, None]
    return float(torch.linalg.lstsq(design, (value * count)[:, None]).solution[0])
