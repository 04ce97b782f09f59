"""Evaluation of extracted features: ``score`` a set of videos, ``compare`` two scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pos.errors import PosError
from pos.evaluation.bootstrap import Estimate, Resampling, interval
from pos.evaluation.features import FeatureSet
from pos.evaluation.reference import Reference
from pos.metrics.metric import Metric, MetricInput
from pos.metrics.registry import get_metric, registered


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
        return {
            name: interval(samples, centred=get_metric(name).centred)
            for name, samples in self.samples.items()
        }


@dataclass(frozen=True)
class Difference(Estimate):
    """A row's metric minus the baseline's, with its 95% interval and the verdict: better or worse where the
    difference is significant, else undecided."""

    verdict: Literal["better", "worse", "undecided"]


def score(
    features: FeatureSet,
    reference: Reference,
    *,
    metrics: Collection[str] | None = None,
    splits: int = 1,
    resamples: int = 500,
    seed: int = 0,
) -> Score:
    """Metrics of a set of videos, on the set itself and on bootstrap resamples of its prompts.

    Args:
        features: of at least two videos; with those of a judge, attribute accuracy is computed too.
        reference: computed with the same weights.
        metrics: names of registered metrics; None takes the paper's.
        splits: of the inception score.
        resamples: bootstrap resamples.
        seed: of the resamples; rows to be compared take the same.

    Raises:
        PosError: fewer than two videos, an unknown metric, one without its detector, or a reference of other
            weights.
    """
    if len(features) < 2:
        raise PosError(f"A score needs at least 2 videos, and there is {len(features)}.")
    reasons = missing(features.detectors, reference, {}, metrics)
    if reasons:
        raise PosError(next(iter(reasons.values())))
    resampling = Resampling.of(features.ids, resamples, seed)
    inputs = _inputs(features, reference, resampling.weights, splits)
    samples = {metric.name: metric.compute(inputs) for metric in _computed(features, metrics)}
    if len(set(features.ids)) == 1:  # every resample is the set itself: its interval would have no width
        samples = {name: torch.cat([found[:1], found[1:] * torch.nan]) for name, found in samples.items()}
    return Score(len(features), samples, resampling.key, features.detectors)


def missing(
    detectors: Mapping[str, str],
    reference: Reference,
    absent: Mapping[str, str],
    metrics: Collection[str] | None = None,
) -> dict[str, str]:
    """Why metrics cannot be computed: one sentence by metric, for those that cannot.

    Args:
        detectors: fingerprints of the existing ones.
        reference: statistics of real videos.
        absent: why a detector, or a row of features, is missing, by its name.
        metrics: names of registered metrics; None takes the paper's.

    Raises:
        PosError: an unknown metric.
    """
    unfit = reference.unfit(detectors)
    reasons = {}
    for metric in _named(metrics):
        if metric.detector not in detectors:
            reasons[metric.name] = absent.get(metric.detector, f"{metric.label} has no detector.")
        elif metric.compared and metric.detector in unfit:
            reasons[metric.name] = unfit[metric.detector]
        elif metric.row in absent:
            reasons[metric.name] = absent[metric.row]
        elif metric.reference == "images" and reference.images is None:
            reasons[metric.name] = (
                f"The reference ({reference.source}) holds no features for {metric.label}: run "
                f"experiments/make_reference.py with detectors.extra=[{metric.name}]."
            )
    return reasons


def requested(extra: Collection[str]) -> list[str]:
    """Names of the paper's metrics and of these extra ones, in the order of the registry.

    Raises:
        PosError: a name that is not of a registered extra metric.
    """
    known = [metric.name for metric in registered("extra")]
    for name in extra:
        if name not in known:
            raise PosError(f"extra={list(extra)}: there is no metric {name}, only {', '.join(known)}.")
    return [*(metric.name for metric in registered("paper")), *(name for name in known if name in extra)]


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


def caveats(features: FeatureSet, reference: Reference, metrics: Collection[str] | None = None) -> list[str]:
    """What a reader must know about these numbers, one sentence each.

    Args:
        features: of the videos.
        reference: of real videos.
        metrics: names of the metrics that were computed; None takes the paper's.
    """
    found = _computed(features, metrics)
    sentences = [_few(len(features), dims, labels) for dims, labels in _inflated(features, found).items()]
    inputs = _inputs(features, reference, torch.ones(1, len(features), dtype=torch.float64))
    for metric in found:
        if metric.notes is not None and metric.row in features.tensors:
            sentences += metric.notes(inputs)
    if len(set(features.ids)) == 1:
        sentences.append("All videos are of one prompt: there are no intervals, which are over prompts.")
    return sentences


def _named(names: Collection[str] | None) -> list[Metric]:
    return registered("paper") if names is None else [get_metric(name) for name in names]


def _computed(features: FeatureSet, names: Collection[str] | None) -> list[Metric]:
    """These metrics, and those of Shapes where the judge's features exist."""
    of_shapes = [metric for metric in registered("shapes") if metric.row in features.tensors]
    return list(dict.fromkeys([*_named(names), *of_shapes]))


def _inputs(features: FeatureSet, reference: Reference, weights: Tensor, splits: int = 1) -> MetricInput:
    return MetricInput(
        features.tensors, features.ids, weights, splits, reference.statistics, reference.images
    )


def _inflated(features: FeatureSet, metrics: Collection[Metric]) -> dict[int, list[str]]:
    """Labels of the distances that the number of videos inflates, by how many features they compare."""
    found = defaultdict(list)
    for metric in metrics:
        if metric.distance is not None and metric.row in features.tensors:
            dims = features.tensors[metric.row].shape[-1]
            if len(features) < 10 * dims:
                found[dims].append(metric.label)
    return found


def _few(videos: int, dims: int, labels: list[str]) -> str:
    verb = "is" if len(labels) == 1 else "are"
    sentence = (
        f"{videos:,} videos for {dims:,} features: {_listed(labels)} {verb} inflated at this number and "
        "comparable only with those of equally many videos"
    )
    if videos <= dims:
        sentence += "; so few leave most directions of the features without any spread"
    return sentence + "."


def _listed(labels: list[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def _difference(name: str, samples: Tensor) -> Difference:
    metric = get_metric(name)
    estimate = interval(samples, centred=metric.centred)
    verdict: Literal["better", "worse", "undecided"] = "undecided"
    if estimate.significant:
        verdict = "better" if (estimate.value < 0) == (metric.better == "lower") else "worse"
    return Difference(estimate.value, estimate.low, estimate.high, verdict)
