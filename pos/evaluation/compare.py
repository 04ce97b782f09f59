"""The verdict over two evaluated folders of the same prompts, from the features that are stored with them."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from torch import Tensor

from pos.data.benchmarks.benchmark import Benchmark
from pos.errors import PosError
from pos.evaluation.bootstrap import permutation_p
from pos.evaluation.features import FeatureSet
from pos.evaluation.reference import Reference
from pos.evaluation.score import ACCURACY, ALL, EXTRAS, Difference, compare, missing, score, wanted
from pos.metrics.accuracy import UNNAMED
from pos.storage import asset

_SAME = ("manifest", "frames", "splits")  # of results.json: differing ones make no comparison


def compare_folders(
    a: Path,
    b: Path,
    benchmark: Benchmark,
    *,
    reference: Path | None = None,
    resamples: int = 500,
    seed: int = 0,
) -> list[str]:
    """Whether ``b`` is better than ``a``: what was compared, and a sentence for each metric.

    Args:
        a, b: folders that ``evaluate`` wrote to; videos are paired by the ids of their prompts.
        benchmark: gives the reference statistics by default.
        reference: another file of them.
        resamples, seed: of the bootstrap and of the permutations.

    Raises:
        PosError: a folder was not evaluated, the two differ in prompts, manifest, frames or splits, or they
            were scored against other real videos than those of the reference.
    """
    first, second = _results(Path(a)), _results(Path(b))
    for name in _SAME:
        if first.get(name) != second.get(name):
            raise PosError(f"{a} and {b} were scored with different {name}: evaluate them in the same way.")
    left, right = (FeatureSet.load(Path(folder) / "features.safetensors") for folder in (a, b))
    right = _aligned(right, left.ids, Path(a), Path(b))
    real = Reference.load(asset(benchmark.reference_asset) if reference is None else Path(reference))
    for folder, results in ((a, first), (b, second)):
        _check_reference(folder, results, real)
    asked = wanted([name for name in EXTRAS if name in first["metrics"] and name in second["metrics"]])
    absent = missing({**left.detectors, **right.detectors}, real, {}, asked)
    metrics = [name for name in asked if name not in absent]
    settings = {"metrics": metrics, "splits": first["splits"], "resamples": resamples, "seed": seed}
    baseline, row = score(left, real, **settings), score(right, real, **settings)
    chances = {
        name: permutation_p(found, left.ids, seed=seed) for name, found in _per_video(left, right).items()
    }
    left_out = [f"{ALL[name].label}: not compared. {why}" for name, why in absent.items()]
    count = f"{len(left):,} videos of {len(set(left.ids)):,} different prompts"
    return [f"Compared: {b} with {a}, {count} each.", *left_out] + [
        _sentence(name, difference, float(baseline.samples[name][0]), chances.get(name))
        for name, difference in compare(row, baseline).items()
    ]


def _results(folder: Path) -> dict[str, Any]:
    path = folder / "results.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PosError(
            f"{folder} holds no results.json: run experiments/evaluate.py videos=DIR out={folder} first."
        ) from error
    except ValueError as error:
        raise PosError(f"{path} is not JSON: {error}.") from error


def _check_reference(folder: Path, results: dict[str, Any], reference: Reference) -> None:
    against = results.get("reference")
    if against != reference.source:
        raise PosError(
            f"{folder} was scored against {against}, and this reference is {reference.source}: give the one "
            "that it was scored against as reference=FILE."
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


def _per_video(a: FeatureSet, b: FeatureSet) -> dict[str, Tensor]:
    """What each video adds to the difference of a metric that is a mean over videos, up to a factor."""
    found = {}
    if "clipsim" in a.tensors and "clipsim" in b.tensors:
        found["clipsim"] = b.tensors["clipsim"].double() - a.tensors["clipsim"].double()
    if "consistency" in a.tensors and "consistency" in b.tensors:
        found["consistency"] = b.tensors["consistency"].double() - a.tensors["consistency"].double()
    if "judged" in a.tensors and "judged" in b.tensors:
        found["accuracy"] = _right(b) - _right(a)
    return found


def _right(features: FeatureSet) -> Tensor:
    judged, named = features.tensors["judged"], features.tensors["named"]
    return ((judged == named) & (named != UNNAMED)).sum(1).double()


def _sentence(name: str, difference: Difference, before: float, chance: float | None) -> str:
    label = ALL[name].label if name in ALL else name.replace("_", " of ")
    if math.isnan(difference.value):
        why = "no prompt names it" if name in ACCURACY else "no prompt has two videos"
        return f"{label}: not defined, {why}."
    said = (
        f"{label}: {difference.verdict}, {before:.4g} to {before + difference.value:.4g}, a difference of "
        f"{difference.value:+.3g}"
    )
    if math.isnan(difference.low):
        return f"{said} (no interval: all videos are of one prompt)."
    said += f" (95% from {difference.low:+.3g} to {difference.high:+.3g}"
    return said + (")." if chance is None else f"; permutation p = {chance:.3g}).")
