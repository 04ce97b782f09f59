"""Figure 2: whether inverted noises of similar videos are nearer to each other than those of others."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torchmetrics.functional import spearman_corrcoef
from tqdm import tqdm

from pos.diffusion.ddim import InversionMethod
from pos.errors import PosError
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.reference import Reference
from pos.ona.inversion import Inverter
from pos.pipeline import Pipeline
from pos.reporting.charts.dots import dots
from pos.reporting.html import Curve
from pos.storage import TensorCache
from pos.study.figures.base import Figure, Finding
from pos.study.study import Study

RESAMPLES = 1000

Pairs = list[tuple[int, int]]


class NoiseSpace(Figure):
    """Inverts clips of the pool and compares their noises, pair by pair.

    Every drawn clip is paired with the clip of the nearest other caption, with a random clip, and with
    independent Gaussian noise. Measured are the cosine of two noises and their distance divided by the root
    of the number of values (root of 2 for independent noise of unit variance).

    Entries of the pool with the same clip or the same caption are not paired.

    Args:
        clips: how many clips are drawn.
        inversion: which form of Eq. 2.
        seed: of the clips and of the Gaussian noise.

    Raises:
        PosError: fewer than 3 clips.
    """

    retrieves = True

    def __init__(self, clips: int = 96, inversion: InversionMethod = "next", seed: int = 0) -> None:
        if clips < 3:
            raise PosError(f"clips={clips}: at least 3 are needed to compare pairs.")
        self.clips, self.inversion, self.seed = clips, inversion, seed

    def check(self, study: Study) -> None:
        retriever = study.pipeline.retriever
        if retriever is None:
            raise PosError(study.missing.get("retriever", "Figure 2 needs a pool: choose one with pool=..."))
        if len(retriever.pool) < 3:
            raise PosError(
                f"A pool of {len(retriever.pool)} clips has no pairs to compare: at least 3 are needed."
            )

    def measure(
        self,
        study: Study,
        detectors: Detectors,  # noqa: ARG002
        reference: Reference | None,  # noqa: ARG002
        device: torch.device | str,  # noqa: ARG002
    ) -> Finding:
        self.check(study)
        pipeline, generator = study.pipeline, torch.Generator().manual_seed(self.seed)
        pool, size = pipeline.retriever.pool, (pipeline.frames, pipeline.height, pipeline.width)

        @cache
        def video(clip: int) -> Tensor:
            return pool.video(clip, *size)

        def same(one: int, other: int) -> bool:  # compares pixels: ids name pairs, not clips
            return pool.captions[one] == pool.captions[other] or torch.equal(video(one), video(other))

        vectors = pipeline.retriever.encoder.embed(pool.captions)
        similar, unrelated = draw_pairs(vectors, self.clips, generator, same)
        chosen = sorted({clip for pair in similar + unrelated for clip in pair})
        noises = self._inverted(pipeline, {clip: video(clip) for clip in chosen})
        first = torch.stack([noises[one] for one, _ in similar])
        others = {
            "nearest caption": torch.stack([noises[other] for _, other in similar]),
            "random clip": torch.stack([noises[other] for _, other in unrelated]),
            "independent noise": torch.randn(first.shape, generator=generator),
        }
        groups = {name: compared(first, other, generator) for name, other in others.items()}
        captions = {
            "nearest caption": [float(vectors[a] @ vectors[b]) for a, b in similar],
            "random clip": [float(vectors[a] @ vectors[b]) for a, b in unrelated],
        }
        return _finding(groups, captions, self.inversion, generator)

    def _inverted(self, pipeline: Pipeline, videos: dict[int, Tensor]) -> dict[int, Tensor]:
        """The inverted noises of videos, flattened; both by index of the clip."""
        inverter = Inverter(
            pipeline.backbone,
            TensorCache(pipeline.cache_dir, "inversions"),
            steps=pipeline.steps,
            method=self.inversion,
            batch_size=pipeline.batch_size,
        )
        found = inverter(
            list(videos.values()),
            lambda batches, total: tqdm(batches, "Inverting", total, unit="batch"),
        )
        return {clip: inverted.noise.flatten() for clip, inverted in zip(videos, found, strict=True)}


def draw_pairs(
    vectors: Tensor,
    count: int,
    generator: torch.Generator,
    same: Callable[[int, int], bool] = operator.eq,
) -> tuple[Pairs, Pairs]:
    """Clips drawn without repetition, each with the one of the nearest other caption, and with a random one.

    Args:
        vectors: of the captions, unit (n, d).
        count: how many clips; all where there are fewer.
        generator: of the draw.
        same: whether two indices have the same clip or caption, and so are not paired.

    Raises:
        PosError: a drawn clip cannot be paired with any other.
    """
    drawn = torch.randperm(len(vectors), generator=generator)[:count].tolist()
    similar, unrelated = [], []
    for clip in drawn:
        nearest = (vectors @ vectors[clip]).argsort(descending=True, stable=True)
        similar.append((clip, _partner(clip, map(int, nearest), same)))
        unrelated.append((clip, _partner(clip, _at_random(clip, len(vectors), generator), same)))
    return similar, unrelated


def _partner(clip: int, candidates: Iterable[int], same: Callable[[int, int], bool]) -> int:
    """The first candidate that may be paired with the clip."""
    found = next((other for other in candidates if not same(clip, other)), None)
    if found is None:
        raise PosError(
            f"Clip {clip} of the pool has none to be compared with: all others are the same clip or have the "
            "same caption."
        )
    return found


def _at_random(clip: int, count: int, generator: torch.Generator) -> Iterator[int]:
    """Another clip at random, then all clips in random order, drawn only when the first is not used."""
    yield (clip + 1 + int(torch.randint(count - 1, (), generator=generator))) % count
    yield from torch.randperm(count, generator=generator).tolist()


def compared(first: Tensor, second: Tensor, generator: torch.Generator) -> dict[str, Any]:
    """Cosine and distance of noises (n, d), pair by pair, their means and 95% bootstrap intervals."""
    cosines = cosine_similarity(first, second, dim=1)
    distances = (first - second).norm(dim=1) / first.shape[1] ** 0.5
    return {
        "cosine": _mean(cosines, generator),
        "distance": _mean(distances, generator),
        "cosines": cosines.tolist(),
        "distances": distances.tolist(),
    }


def rank_correlation(x: Tensor, y: Tensor) -> float:
    """Spearman's rank correlation; equal values share their rank, and it is 0 where all of one are equal."""
    return float(spearman_corrcoef(x.double(), y.double()))


def _mean(values: Tensor, generator: torch.Generator) -> dict[str, float]:
    drawn = torch.randint(len(values), (RESAMPLES, len(values)), generator=generator)
    low, high = values[drawn].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return {"value": float(values.mean()), "low": low, "high": high}


def _finding(
    groups: dict[str, dict[str, Any]],
    captions: dict[str, list[float]],
    inversion: str,
    generator: torch.Generator,
) -> Finding:
    near, far = (torch.tensor(groups[name]["cosines"]) for name in ("nearest caption", "random clip"))
    difference = _mean(near - far, generator)
    similarities = torch.tensor([value for values in captions.values() for value in values])
    correlation = rank_correlation(similarities, torch.cat([near, far]))
    notes = [
        f"Inverted noises ({inversion}) of a clip and {name}: cosine {_describe(group['cosine'])}, distance "
        f"{_describe(group['distance'])}."
        for name, group in groups.items()
    ]
    holds = "nearer" if difference["low"] > 0 else "farther" if difference["high"] < 0 else "no nearer"
    notes.append(
        f"Clips of similar captions are {holds} in noise space: their cosine is {_describe(difference)} "
        f"above that of random clips; rank correlation of caption similarity and cosine {correlation:.2f}."
    )
    plotted = {
        name: list(zip(values, groups[name]["cosines"], strict=True)) for name, values in captions.items()
    }
    drawing = dots(
        "Inverted noises of two clips",
        plotted,
        "similarity of the captions",
        "cosine of the noises",
        ("independent noise", groups["independent noise"]["cosine"]["value"]),
    )
    measured = {**groups, "captions": captions, "difference": difference, "rank_correlation": correlation}
    return Finding(measured, notes, {"noise-space": Curve(drawing, "A dot is a pair of clips.")})


def _describe(mean: dict[str, float]) -> str:
    return f"{mean['value']:.3f} [{mean['low']:.3f}, {mean['high']:.3f}]"
