"""Evaluation of extracted features: ``score`` a set of videos, ``compare`` two scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pos.data.shapes.world import ATTRIBUTES
from pos.errors import PosError
from pos.evaluation.bootstrap import Estimate, Resampling, interval
from pos.evaluation.features import FeatureSet
from pos.evaluation.reference import KID_REMEDY, Reference
from pos.metrics.accuracy import attribute_accuracy
from pos.metrics.clip_fid import clip_fid
from pos.metrics.clipsim import clipsim
from pos.metrics.consistency import consistency
from pos.metrics.diversity import diversity
from pos.metrics.fid import fid
from pos.metrics.fvd import fvd
from pos.metrics.inception_score import inception_score
from pos.metrics.kid import kid


@dataclass(frozen=True)
class Metric:
    """A metric of a set of videos.

    Attributes:
        label: its name in sentences.
        better: which direction is better.
        centred: whether repeated videos bias it, so that its intervals are centred (``statistics.interval``).
        detector: what sees the videos.
        row: what of a ``FeatureSet`` it reads.
        compared: whether it needs statistics of real videos, those of its detector.
    """

    label: str
    better: Literal["lower", "higher"]
    centred: bool
    detector: str
    row: str
    compared: bool


METRICS = {
    "fid": Metric("FID", "lower", True, "fid", "fid", True),
    "clip_fid": Metric("CLIP-FID", "lower", True, "clip", "clip", True),
    "clipsim": Metric("CLIPSIM", "higher", False, "clip", "clipsim", False),
    "fvd": Metric("FVD", "lower", True, "fvd", "fvd", True),
    "is": Metric("IS", "higher", True, "inception", "classes", False),
}
"""The paper's."""
EXTRAS = {
    "kid": Metric("KID", "lower", False, "fid", "fid", True),
    "fvd_videomae": Metric("FVD (VideoMAE)", "lower", True, "videomae", "videomae", True),
    "consistency": Metric("Frame consistency", "higher", False, "clip", "consistency", False),
    "diversity": Metric("Diversity", "higher", False, "clip", "embedding", False),
}
"""Beyond the paper, where a set of detectors is asked for them."""
ALL = METRICS | EXTRAS
_DISTANCES: dict[str, Callable[..., Tensor]] = {
    "fid": fid,
    "clip_fid": clip_fid,
    "fvd": fvd,
    "fvd_videomae": fvd,
}
ACCURACY = ("accuracy", *(f"accuracy_{attribute}" for attribute in ATTRIBUTES))
"""Attribute accuracy over all named attributes, then of each; higher is better."""


@dataclass(frozen=True)
class Score:
    """The metrics of one set of videos, with their bootstrap distributions.

    Attributes:
        videos: number of videos.
        samples: float64 (1 + resamples,) by metric, the value first.
        pairing: key of the resampling; equal keys make two scores paired.
        detectors: fingerprints of the detectors' weights.
    """

    videos: int
    samples: dict[str, Tensor]
    pairing: str
    detectors: dict[str, str]

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Value and 95% interval of every metric."""
        return {name: _interval(name, samples) for name, samples in self.samples.items()}


@dataclass(frozen=True)
class Difference(Estimate):
    """A row's metric minus the baseline's, with its 95% interval and what that says of the row."""

    verdict: Literal["better", "worse", "undecided"]


def score(
    features: FeatureSet,
    reference: Reference,
    *,
    metrics: Collection[str] = tuple(METRICS),
    splits: int = 1,
    resamples: int = 500,
    seed: int = 0,
) -> Score:
    """Metrics of a set of videos, on the set itself and on bootstrap resamples of its prompts.

    Args:
        features: of at least two videos; those of a judge give attribute accuracy too.
        reference: computed with the same weights.
        metrics: names in ``METRICS`` or ``EXTRAS``.
        splits: of the inception score.
        resamples: bootstrap resamples.
        seed: of the resamples; rows to be compared take the same.

    Raises:
        PosError: fewer than two videos, a metric without its detector, or a reference of other weights.
    """
    if len(features) < 2:
        raise PosError(f"A score needs at least 2 videos, and there is {len(features)}.")
    lacking = missing(features.detectors, reference, {}, metrics)
    for name in metrics:
        if name in lacking:
            raise PosError(lacking[name])
    resampling = Resampling.of(features.ids, resamples, seed)
    rows, weights = features.tensors, resampling.weights
    samples = {name: _samples(name, features, reference, weights, splits) for name in metrics}
    if "judged" in rows:
        accuracy = attribute_accuracy(rows["judged"], rows["named"], weights)
        samples |= dict(zip(ACCURACY, accuracy.T, strict=True))
    if len(set(features.ids)) == 1:  # every resample is the set itself: an interval of no width says nothing
        samples = {name: torch.cat([found[:1], found[1:] * torch.nan]) for name, found in samples.items()}
    return Score(len(features), samples, resampling.key, features.detectors)


def missing(
    detectors: Mapping[str, str],
    reference: Reference,
    absent: Mapping[str, str],
    metrics: Collection[str] = tuple(METRICS),
) -> dict[str, str]:
    """What keeps metrics from being computed: one sentence by metric, for those that cannot be.

    Args:
        detectors: fingerprints of those that are there.
        reference: statistics of real videos.
        absent: why a detector or a metric is not there, by its name.
        metrics: names in ``METRICS`` or ``EXTRAS``.
    """
    unfit = reference.unfit(detectors)
    told = {}
    for name in metrics:
        metric = ALL[name]
        if metric.detector not in detectors:
            told[name] = absent.get(metric.detector, f"{metric.label} has no detector.")
        elif metric.compared and metric.detector in unfit:
            told[name] = unfit[metric.detector]
        elif name in absent:
            told[name] = absent[name]
        elif name == "kid" and reference.images is None:
            told[name] = f"The reference ({reference.source}) holds no features for KID: {KID_REMEDY}"
    return told


def wanted(extra: Collection[str]) -> list[str]:
    """The paper's metrics and these of ``EXTRAS``.

    Raises:
        PosError: another name.
    """
    for name in extra:
        if name not in EXTRAS:
            raise PosError(f"extra={list(extra)}: there is no metric {name}, only {', '.join(EXTRAS)}.")
    return [*METRICS, *(name for name in EXTRAS if name in extra)]


def compare(row: Score, baseline: Score) -> dict[str, Difference]:
    """Row minus baseline for every metric, paired: both sets hold videos of the same prompts in the same
    order.

    Raises:
        PosError: the two were not scored on the same prompts, resamples and detectors.
    """
    if row.pairing != baseline.pairing:
        raise PosError("The two sets of videos cannot be paired: prompts, seeds or resamples differ.")
    if row.detectors != baseline.detectors:
        raise PosError("The two sets of videos were scored by detectors of different weights.")
    return {name: _difference(name, row.samples[name] - baseline.samples[name]) for name in row.samples}


def record(estimates: dict[str, Estimate]) -> dict[str, dict[str, Any]]:
    """Estimates or differences as JSON-able values; what is not defined becomes None."""
    return {
        name: {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in asdict(e).items()
        }
        for name, e in estimates.items()
    }


def caveats(features: FeatureSet, reference: Reference) -> list[str]:
    """What a reader must know about these numbers, one sentence each."""
    told = [_few(len(features), dims, labels) for dims, labels in _inflated(features, reference).items()]
    if "named" in features.tensors:
        silent = int((features.tensors["named"] < 0).all(1).sum())
        if silent:
            told.append(
                f"{silent} of {len(features)} prompts name no attribute and do not count in accuracy."
            )
    if len(set(features.ids)) == 1:
        told.append("All videos are of one prompt: there are no intervals, which are over prompts.")
    if "embedding" in features.tensors and len(set(features.ids)) == len(features):
        told.append("No prompt has two videos: diversity is not defined.")
    return told


def _inflated(features: FeatureSet, reference: Reference) -> dict[int, list[str]]:
    """Labels of the distances that the number of videos inflates, by how many features they compare."""
    found = defaultdict(list)
    lacking = missing(features.detectors, reference, {}, _DISTANCES)
    for name in _DISTANCES:
        metric = ALL[name]
        if name not in lacking:
            dims = features.tensors[metric.row].shape[-1]
            if len(features) < 10 * dims:
                found[dims].append(metric.label)
    return found


def _few(videos: int, dims: int, labels: list[str]) -> str:
    verb = "is" if len(labels) == 1 else "are"
    told = (
        f"{videos:,} videos for {dims:,} features: {_listed(labels)} {verb} inflated at this number and "
        "comparable only with those of equally many videos"
    )
    if videos <= dims:
        told += "; so few leave most directions of the features without any spread"
    return told + "."


def _listed(labels: list[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def _samples(name: str, features: FeatureSet, reference: Reference, weights: Tensor, splits: int) -> Tensor:
    """Values (b,) of a metric of a set, for every resample."""
    metric = ALL[name]
    rows = features.tensors[metric.row]
    if name in _DISTANCES:
        return _DISTANCES[name](rows, reference.statistics[metric.detector], weights)
    if name == "kid":
        return kid(rows, reference.images, weights, features.ids)
    if name == "diversity":
        return diversity(rows, features.ids, weights)
    if name == "is":
        return inception_score(rows, weights, splits)
    return (consistency if name == "consistency" else clipsim)(rows, weights)


def _interval(name: str, samples: Tensor) -> Estimate:
    return interval(samples, centred=name in ALL and ALL[name].centred)


def _difference(name: str, samples: Tensor) -> Difference:
    estimate = _interval(name, samples)
    verdict = "undecided"
    if estimate.significant:
        lower_is_better = name in ALL and ALL[name].better == "lower"
        verdict = "better" if (estimate.value < 0) == lower_is_better else "worse"
    return Difference(estimate.value, estimate.low, estimate.high, verdict)
