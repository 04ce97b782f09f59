"""A pipeline, a provenance and a study of parts with known answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pos.backbones.base import Defaults
from pos.data.benchmarks.shapes import ShapesBenchmark
from pos.method import Method
from pos.ona.npnet import NPNet
from pos.ona.reconstruction import Reconstruction
from pos.pipeline import Pipeline
from pos.provenance import InversionRecord, NoiseStatistics, PipelineSettings, Provenance, Seconds
from pos.retrieval import Neighbour, Retriever
from pos.spr.engines import Reply
from pos.spr.instruction import InstructionTemplate
from pos.spr.rewriting import Guard, Rewrite, Rewriter
from pos.study.rows import Row
from pos.study.study import Study
from tests.closed_form import ColourBackbone, ColourPool, WordCounts, WordsReplaced

BARE = "{max_words}\nSentence: {prompt}\nRewritten:"
TEMPLATE = InstructionTemplate("{examples}\n" + BARE, without_examples=BARE)
ROWS = {
    "baseline": Method(),
    "ona": Method(noise="inversion", eta=0.5),
    "spr": Method(rewrite=True, gamma=0.5),
    "pos": Method(noise="inversion", eta=0.5, rewrite=True, gamma=0.5),
    "pos_star": Method(noise="npnet", eta=0.5, rewrite=True, gamma=0.5),
}


def known_pipeline(
    cache: Path, method: Method | None = None, *, words: dict[str, str] | None = None, **changes: Any
) -> Pipeline:
    """A pipeline with a new backbone, which records its calls.

    Args:
        cache: folder of its caches.
        method: None is the plain model.
        words: which the rewriter replaces by which; any rewrite is accepted.
        changes: parts and settings other than the known ones.
    """
    engine = WordsReplaced(words or {"red": "blue", "green": "blue"})
    parts = {
        "backbone": ColourBackbone(),
        "retriever": Retriever(ColourPool(), WordCounts(cache), cache),
        "rewriter": Rewriter(engine, TEMPLATE, Guard(min_similarity=-1.0), cache, references=2),
        "npnet": NPNet(ColourBackbone()),
        "cache_dir": cache,
    }
    return Pipeline(method=method or Method(), **parts | changes)


def known_provenance(**changes: Any) -> Provenance:
    """A provenance that uses every field, with an infinite eta and an exact reconstruction.

    Args:
        changes: of its fields.
    """
    settings = PipelineSettings(
        method=Method(noise="inversion", eta=math.inf, rewrite=True, gamma=0.5),
        rewritten_steps=2,
        backbone="colour",
        native=Defaults(2, 4, 4, 4, 1.0, 8.0),
        steps=4,
        guidance=1.0,
        negative_prompt="blurry",
        config="0123456789abcdef",
        versions={"pos": "1"},
    )
    parts = {
        "prompt": "red ring",
        "id": "test-1",
        "seed": 3,
        "rewrite": Rewrite("blue ring", True, 1, 0.5, None, 0.25, 20, 2),
        "neighbours": [Neighbour(0, "red", "a wall of red paint", 0.5)],
        "clips": [Neighbour(0, "red", "a wall of red paint", 0.5)],
        "inversion": InversionRecord(
            evaluations=4,
            residual=1e-6,
            seconds=0.5,
            noise=NoiseStatistics(0.1, 0.8, [0.7, 0.9], 0.01),
            reconstruction=Reconstruction(math.inf, 0.0, 0.5),
        ),
        "eta": math.inf,
        "start_noise": NoiseStatistics(0.0, 1.0, [1.0, 1.0], 0.02),
        "evaluations": 8,
        "seconds": Seconds(1.0, 0.5, 0.25),
        "settings": settings,
    }
    return Provenance(**parts | changes)


class Silent(WordsReplaced):
    """Answers nothing as long as ``silent``, as a server that is down or a budget that ran out."""

    silent = True

    def complete(self, instructions: Sequence[str], *, attempt: int, seed: int) -> Iterator[dict[int, Reply]]:
        if self.silent:
            yield {row: Reply(problem="out of budget", answered=False) for row in range(len(instructions))}
        else:
            yield from super().complete(instructions, attempt=attempt, seed=seed)


PROMPTS = ShapesBenchmark("validation", 3).prompts
STUDY_ROWS = {
    "baseline": Row("baseline", Method()),
    "ona": Row("+ONA", Method(noise="inversion", eta=math.inf)),
    "spr": Row("+SPR", Method(rewrite=True, gamma=0.5)),
}


def known_study(folder: Path, rows: dict[str, Row] | None = None, *, size: int = 4, **changes: Any) -> Study:
    """A study of three prompts and two seeds.

    Args:
        folder: of ``out`` and the caches.
        rows: None takes ``STUDY_ROWS``.
        size: of the videos in pixels; those of 64 have the 16 frames that the detectors take.
        changes: attributes of the study other than these.
    """
    pipeline = known_pipeline(
        folder / "cache",
        words={"a": "one"},
        backbone=ColourBackbone(frames=16 if size == 64 else 2, size=size),
        npnet=None,
        steps=2,
        batch_size=2,
    )
    parts = {
        "name": "table1",
        "pipeline": pipeline,
        "rows": rows or STUDY_ROWS,
        "seeds": [0, 1],
        "resamples": 20,
        "benchmark": ShapesBenchmark("validation", 3),
        "out": folder / "out",
        "score_batch": 4,
    }
    return Study(**parts | changes)


def made(study: Study) -> dict[str, bytes]:
    """Every file of the videos by its path below the study's folder."""
    return {
        path.relative_to(study.out).as_posix(): path.read_bytes()
        for path in sorted((study.out / "videos").rglob("*.*"))
    }
