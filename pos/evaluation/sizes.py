"""The small-sample bias of Frechet distances made visible: the distance at several numbers of videos, and
where the line through them ends (Chong & Forsyth 2020, "Effectively unbiased FID and Inception Score")."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pos.evaluation.features import FeatureSet
from pos.evaluation.reference import Reference
from pos.evaluation.score import ALL
from pos.metrics.frechet import FeatureStatistics, frechet_distance

PARTS = (8, 4, 2, 1)  # the set is divided by these
_LINEAR = 2  # vectors a feature, from which on the bias goes as 1 / n: from one it still bends


@dataclass(frozen=True)
class Sizes:
    """A distance at several numbers of videos, from the same features.

    Attributes:
        videos: how many, ascending; the last is the whole set.
        values: the distance at each, the mean over random subsets.
        limit: at infinitely many, by a line in 1 / n; None where too few sizes lie on a line.
    """

    videos: list[int]
    values: list[float]
    limit: float | None

    def record(self, extrapolate: bool) -> dict[str, Any]:
        """As JSON-able values; ``limit`` only where it is asked for."""
        sizes = {"videos": self.videos, "values": self.values}
        return {**sizes, "limit": self.limit} if extrapolate else sizes


def distances_by_size(
    features: FeatureSet, reference: Reference, metrics: Collection[str], draws: int = 10, seed: int = 0
) -> dict[str, Sizes]:
    """The Frechet distances of random subsets of a set of videos, by metric; no network runs.

    Subsets are drawn without replacement and hold all seeds of a prompt or none, so that their videos are as
    dependent as those of the whole set, whose bias they show.

    Args:
        features: of the whole set.
        reference: of the same detectors.
        metrics: names in ``METRICS`` or ``EXTRAS``; those that are no Frechet distances are passed over.
        draws: subsets of each size.
        seed: of the subsets, which are the same for all metrics.
    """
    subsets = _subsets(features.ids, draws, torch.Generator().manual_seed(seed))
    found = {}
    for name in metrics:
        metric = ALL[name]
        if metric.compared and metric.centred:
            rows, real = features.tensors[metric.row], reference.statistics[metric.detector]
            values = [_mean(rows, real, drawn) for drawn in subsets.values()]
            dims, videos = rows.shape[-1], list(subsets)
            vectors = rows[0].numel() // dims
            linear = [n * vectors >= _LINEAR * dims for n in videos]
            found[name] = Sizes(videos, values, _limit(videos, values, linear))
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


def _mean(rows: Tensor, reference: FeatureStatistics, subsets: list[Tensor]) -> float:
    distances = [frechet_distance(FeatureStatistics.of(rows[subset]), reference) for subset in subsets]
    return sum(distances) / len(distances)


def _limit(videos: list[int], values: list[float], linear: list[bool]) -> float | None:
    """Where the line in 1 / n meets 0; larger sets weigh more, by n, for they lie on it more exactly."""
    points = [(n, value) for n, value, fits in zip(videos, values, linear, strict=True) if fits]
    if len(points) < 2:
        return None
    count, value = torch.tensor(points, dtype=torch.float64).T
    design = torch.stack([torch.ones_like(count), 1 / count], 1) * count[:, None]
    return float(torch.linalg.lstsq(design, (value * count)[:, None]).solution[0])
