"""Figure 2: are the inverted noises of similar videos nearer to each other than those of unrelated ones?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from tqdm import tqdm

from pos.diffusion.ddim import Method as InversionMethod
from pos.errors import PosError
from pos.figures.base import Figure, Finding
from pos.metrics.detectors import Detectors
from pos.metrics.reference import Reference
from pos.ona.inversion import Inverter
from pos.pipeline import Pipeline
from pos.reporting.dots import dots
from pos.reporting.html import Curve
from pos.storage import TensorCache
from pos.study import Study

RESAMPLES = 1000

Pairs = list[tuple[int, int]]


class NoiseSpace(Figure):
    """Inverts clips of the pool and compares their noises, pair by pair.

    Every clip drawn is paired with the one of the nearest other caption, with a random one, and with Gaussian
    noise that has nothing to do with it. Cosine and distance of the noises, the distance divided by the root
    of the number of values (independent noise of unit variance: the root of 2).

    Args:
        clips: how many are drawn.
        inversion: the form of Eq. 2.
        seed: of the clips and of the Gaussian noise.

    Raises:
        PosError: fewer than 3 clips.
    """

    retrieves = True

    def __init__(self, clips: int = 96, inversion: InversionMethod = "next", seed: int = 0) -> None:
        if clips < 3:
            raise PosError(f"clips={clips}: at least 3 are needed to compare pairs.")
        self.clips, self.inversion, self.seed = clips, inversion, seed

    def measure(
        self,
        study: Study,
        detectors: Detectors,  # noqa: ARG002
        reference: Reference | None,  # noqa: ARG002
        device: torch.device | str,  # noqa: ARG002
    ) -> Finding:
        pipeline = study.pipeline
        if pipeline.retriever is None:
            raise PosError(study.absent.get("retriever", "Figure 2 needs a pool: choose one with pool=..."))
        pool, generator = pipeline.retriever.pool, torch.Generator().manual_seed(self.seed)
        if len(pool) < 3:
            raise PosError(f"A pool of {len(pool)} clips has no pairs to compare: at least 3 are needed.")
        vectors = pipeline.retriever.encoder.embed(pool.captions)
        similar, unrelated = draw_pairs(vectors, self.clips, generator)
        noises = self._inverted(pipeline, sorted({clip for pair in similar + unrelated for clip in pair}))
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

    def _inverted(self, pipeline: Pipeline, clips: Sequence[int]) -> dict[int, Tensor]:
        """The noises, flat, by index of the clip."""
        inverter = Inverter(
            pipeline.backbone,
            TensorCache(pipeline.cache_dir, "inversions"),
            steps=pipeline.steps,
            method=self.inversion,
            batch_size=pipeline.batch_size,
        )
        size = pipeline.frames, pipeline.height, pipeline.width
        videos = [pipeline.retriever.pool.video(clip, *size) for clip in clips]
        found = inverter(videos, lambda batches: tqdm(batches, desc="Inverting", unit="batch"))
        return {clip: inverted.noise.flatten() for clip, inverted in zip(clips, found, strict=True)}


def draw_pairs(vectors: Tensor, count: int, generator: torch.Generator) -> tuple[Pairs, Pairs]:
    """Clips drawn without repetition, each with the one of the nearest other caption, and with a random one.

    Args:
        vectors: of the captions, unit (n, d).
        count: how many clips; all where there are fewer.
        generator: of the draw.
    """
    drawn = torch.randperm(len(vectors), generator=generator)[:count].tolist()
    similar, unrelated = [], []
    for clip in drawn:
        scores = vectors @ vectors[clip]
        scores[clip] = -torch.inf
        similar.append((clip, int(scores.argmax())))
        step = 1 + int(torch.randint(len(vectors) - 1, (), generator=generator))
        unrelated.append((clip, (clip + step) % len(vectors)))
    return similar, unrelated


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
    """Spearman's: Pearson's correlation of the ranks."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (x, y)])
    return float(torch.corrcoef(ranks)[0, 1])


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
        f"Inverted noises ({inversion}) of a clip and {name}: cosine {_told(group['cosine'])}, distance "
        f"{_told(group['distance'])}."
        for name, group in groups.items()
    ]
    holds = "nearer" if difference["low"] > 0 else "farther" if difference["high"] < 0 else "no nearer"
    notes.append(
        f"Clips of similar captions are {holds} in noise space: their cosine is {_told(difference)} above "
        f"that of random clips; rank correlation of caption similarity and cosine {correlation:.2f}."
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


def _told(mean: dict[str, float]) -> str:
    return f"{mean['value']:.3f} [{mean['low']:.3f}, {mean['high']:.3f}]"
