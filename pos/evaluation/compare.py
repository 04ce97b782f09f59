"""The comparison of two evaluated folders of the same prompts, from the features stored with them."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from pos.data.benchmarks.benchmark import Benchmark
from pos.errors import PosError
from pos.evaluation.bootstrap import permutation_p
from pos.evaluation.features import FeatureSet
from pos.evaluation.reference import Reference
from pos.evaluation.results import Evaluation
from pos.evaluation.score import Difference, Score, compare, missing, requested, score
from pos.metrics.metric import Metric
from pos.metrics.registry import get_metric, registered
from pos.storage import asset

_SAME = ("manifest", "frames", "splits")  # entries of results.json that both folders must share


def compare_folders(
    a: Path,
    b: Path,
    benchmark: Benchmark,
    *,
    reference: Path | None = None,
    resamples: int = 500,
    seed: int = 0,
) -> list[str]:
    """Whether ``b`` is better than ``a``: a sentence on what was compared, and one for each metric.

    Args:
        a, b: folders that ``evaluate`` wrote to; videos are paired by the ids of their prompts.
        benchmark: gives the reference statistics by default.
        reference: another file of them.
        resamples, seed: of the bootstrap and of the permutations.

    Raises:
        PosError: a folder was not evaluated, the two differ in prompts, manifest, frames or splits, or they
            were scored against other real videos than those of the reference.
    """
    first, second = Evaluation.load(Path(a)), Evaluation.load(Path(b))
    for name in _SAME:
        if getattr(first, name) != getattr(second, name):
            raise PosError(f"{a} and {b} were scored with different {name}: evaluate them in the same way.")
    left, right = (FeatureSet.load(Path(folder) / "features.safetensors") for folder in (a, b))
    right = _aligned(right, left.ids, Path(a), Path(b))
    real = Reference.load(asset(benchmark.reference_asset) if reference is None else Path(reference))
    for folder, results in ((a, first), (b, second)):
        _check_reference(folder, results, real)
    shared = [m.name for m in registered("extra") if m.name in first.metrics and m.name in second.metrics]
    names = requested(shared)
    absent = missing({**left.detectors, **right.detectors}, real, {}, names)
    metrics = [name for name in names if name not in absent]

    def scored(features: FeatureSet) -> Score:
        return score(features, real, metrics=metrics, splits=first.splits, resamples=resamples, seed=seed)

    baseline, row = scored(left), scored(right)
    left_out = [f"{get_metric(name).label}: not compared. {why}" for name, why in absent.items()]
    count = f"{len(left):,} videos of {len(set(left.ids)):,} different prompts"
    return [f"Compared: {b} with {a}, {count} each.", *left_out] + [
        _sentence(
            get_metric(name),
            difference,
            float(baseline.samples[name][0]),
            _chance(get_metric(name), left, right, seed),
        )
        for name, difference in compare(row, baseline).items()
    ]


def _check_reference(folder: Path, results: Evaluation, reference: Reference) -> None:
    if results.reference != reference.source:
        raise PosError(
            f"{folder} was scored against {results.reference}, and this reference is "
            f"{reference.source}: give the one that it was scored against as reference=FILE."
        )


def _aligned(features: FeatureSet, ids: list[str], a: Path, b: Path) -> FeatureSet:
    """The set in the order of ``ids``; several videos of one prompt keep their order."""
    shared = (Counter(ids) & Counter(features.ids)).total()
    if not shared == len(ids) == len(features):
        raise PosError(
            f"{a} holds {len(ids)} videos and {b} {len(features)}, and {shared} are of the same prompts: a "
            "comparison needs the same prompts, each equally often."
        )
    places: dict[str, list[int]] = {}
    for place, name in enumerate(features.ids):
        places.setdefault(name, []).append(place)
    order = [places[name].pop(0) for name in ids]
    rows = {name: tensor[order] for name, tensor in features.tensors.items()}
    return FeatureSet(list(ids), rows, features.detectors)


def _chance(metric: Metric, a: FeatureSet, b: FeatureSet, seed: int) -> float | None:
    """The p-value of a metric that is a mean over videos; None for others."""
    if metric.per_video is None:
        return None
    return permutation_p(metric.per_video(b.tensors) - metric.per_video(a.tensors), a.ids, seed=seed)


def _sentence(metric: Metric, difference: Difference, before: float, chance: float | None) -> str:
    label = metric.label
    if metric.detail_of is not None:
        label = f"{get_metric(metric.detail_of).label} of {label.lower()}"
    if math.isnan(difference.value):
        return f"{label}: not defined, {metric.undefined}."
    sentence = (
        f"{label}: {difference.verdict}, {before:.4g} to {before + difference.value:.4g}, a difference of "
        f"{difference.value:+.3g}"
    )
    if math.isnan(difference.low):
        return f"{sentence} (no interval: all videos are of one prompt)."
    sentence += f" (95% from {difference.low:+.3g} to {difference.high:+.3g}"
    return sentence + (")." if chance is None else f"; permutation p = {chance:.3g}).")
