"""Evaluation in three steps: ``extract`` features once, ``score`` a set of them, ``compare`` two scores."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from pos.data.shapes.world import ATTRIBUTES
from pos.errors import PosError
from pos.metrics.attributes import attribute_accuracy
from pos.metrics.clip_fid import clip_fid
from pos.metrics.clipsim import clipsim
from pos.metrics.features import FeatureSet, ShapesDetectors
from pos.metrics.fid import fid
from pos.metrics.fvd import fvd
from pos.metrics.inception_score import inception_score
from pos.metrics.reference import Reference
from pos.metrics.statistics import Estimate, Resampling, interval
from pos.storage import TensorCache, content_hash


@dataclass(frozen=True)
class Metric:
    """A metric of a set of videos.

    Attributes:
        better: which direction is better.
        centred: whether repeated videos bias it, so that its intervals are centred (``statistics.interval``).
        samples: its values (b,) from the rows of a ``FeatureSet``, the reference and the weights (b, n).
    """

    better: Literal["lower", "higher"]
    centred: bool
    samples: Callable[[dict[str, Tensor], Reference, Tensor], Tensor]


METRICS = {
    "fid": Metric("lower", True, lambda rows, real, weights: fid(rows["fid"], real.fid, weights)),
    "clip_fid": Metric("lower", True, lambda rows, real, weights: clip_fid(rows["clip"], real.clip, weights)),
    "clipsim": Metric("higher", False, lambda rows, _, weights: clipsim(rows["clipsim"], weights)),
    "fvd": Metric("lower", True, lambda rows, real, weights: fvd(rows["fvd"], real.fvd, weights)),
    "is": Metric("higher", True, lambda rows, _, weights: inception_score(rows["classes"], weights)),
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


def extract(
    videos: Tensor | Iterable[Tensor],
    ids: Sequence[str],
    prompts: Sequence[str],
    detectors: ShapesDetectors,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    cache: TensorCache | None = None,
    label: str = "Scoring videos",
) -> FeatureSet:
    """All features of a set of videos, in one pass that holds one batch of them at a time.

    Args:
        videos: uint8 (f, c, h, w) each, in the order of ``ids``; a tensor (n, f, c, h, w) will do.
        ids: the prompt's id of each video; equal ids are several seeds of one prompt.
        prompts: the original prompt of each video, never the rewritten one.
        detectors: moved to ``device``.
        batch_size: videos a batch.
        cache: features of batches by content (videos, prompts, weights): a killed run resumes. None keeps
            nothing.
        label: what the progress bar says.

    Raises:
        PosError: videos, ids and prompts differ in number, or a video has the wrong size.
    """
    if batch_size < 1:
        raise PosError(f"batch_size must be at least 1, not {batch_size}.")
    detectors = detectors.to(device)
    parts: list[dict[str, Tensor]] = []
    stream = _paired(videos, ids, prompts)
    with tqdm(total=len(ids), desc=label, unit="video") as progress:
        while batch := list(itertools.islice(stream, batch_size)):
            videos_here, prompts_here = zip(*batch, strict=True)
            parts.append(_features(_stack(videos_here), list(prompts_here), detectors, device, cache))
            progress.update(len(batch))
    rows = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    _check_finite(rows, ids)
    return FeatureSet(list(ids), rows, detectors.fingerprints)


def score(features: FeatureSet, reference: Reference, *, resamples: int = 500, seed: int = 0) -> Score:
    """Every metric of a set of videos, on the set itself and on bootstrap resamples of its prompts.

    Args:
        features: of at least two videos.
        reference: computed with the same weights.
        resamples: bootstrap resamples.
        seed: of the resamples; rows to be compared take the same.

    Raises:
        PosError: fewer than two videos, or a reference of other weights.
    """
    if len(features) < 2:
        raise PosError(f"A score needs at least 2 videos, and there is {len(features)}.")
    reference.check(features)
    resampling = Resampling.of(features.ids, resamples, seed)
    rows, weights = features.tensors, resampling.weights
    samples = {name: metric.samples(rows, reference, weights) for name, metric in METRICS.items()}
    accuracy = attribute_accuracy(rows["judged"], rows["named"], weights)
    samples |= dict(zip(ACCURACY, accuracy.T, strict=True))
    return Score(len(features), samples, resampling.key, features.detectors)


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
    told = []
    dims = len(reference.fvd.mean)
    if len(features) < 10 * dims:
        told.append(
            f"{len(features)} videos for {dims} features: FID, CLIP-FID and FVD are inflated "
            "at this number and comparable only with those of equally many videos."
        )
    silent = int((features.tensors["named"] < 0).all(1).sum())
    if silent:
        told.append(f"{silent} of {len(features)} prompts name no attribute and do not count in accuracy.")
    return told


def _interval(name: str, samples: Tensor) -> Estimate:
    return interval(samples, centred=name in METRICS and METRICS[name].centred)


def _difference(name: str, samples: Tensor) -> Difference:
    estimate = _interval(name, samples)
    verdict = "undecided"
    if estimate.significant:
        lower_is_better = name in METRICS and METRICS[name].better == "lower"
        verdict = "better" if (estimate.value < 0) == lower_is_better else "worse"
    return Difference(estimate.value, estimate.low, estimate.high, verdict)


def _paired(
    videos: Iterable[Tensor], ids: Sequence[str], prompts: Sequence[str]
) -> Iterator[tuple[Tensor, str]]:
    if not ids or len(ids) != len(prompts):
        raise PosError(f"There are {len(ids)} ids for {len(prompts)} prompts: give one of each a video.")
    count = 0
    for count, video in enumerate(videos, start=1):
        if count > len(ids):
            raise PosError(f"There are more videos than the {len(ids)} prompts: give one prompt a video.")
        yield video, prompts[count - 1]
    if count < len(ids):
        raise PosError(f"There are only {count} videos for {len(ids)} prompts: give one prompt a video.")


def _check_finite(rows: dict[str, Tensor], ids: Sequence[str]) -> None:
    for name, tensor in rows.items():
        finite = tensor.isfinite().reshape(len(ids), -1).all(1)
        if not finite.all():
            first = ids[int(finite.int().argmin())]
            raise PosError(f"The features '{name}' of the video with id {first} are not finite.")


def _stack(videos: Sequence[Tensor]) -> Tensor:
    sizes = {tuple(video.shape) for video in videos}
    if len(sizes) > 1:
        raise PosError(f"Videos of one set must have one size, and there are {sorted(sizes)}.")
    return torch.stack(list(videos))


def _features(
    videos: Tensor,
    prompts: list[str],
    detectors: ShapesDetectors,
    device: torch.device | str,
    cache: TensorCache | None,
) -> dict[str, Tensor]:
    if cache is None:
        return detectors(videos.to(device), prompts)
    key = content_hash(videos, prompts, detectors.fingerprints)
    known = cache.get(key)
    if known is None:
        known = detectors(videos.to(device), prompts)
        cache.put(key, known)
    return known
