"""A study: rows of a table x prompts x seeds, generated, scored and compared with the baseline; resumable."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pos.data.benchmarks import ShapesBenchmark
from pos.data.video import read_video
from pos.errors import PosError
from pos.generation import jsonable, store
from pos.method import Method
from pos.metrics.detectors import Detectors
from pos.metrics.evaluation import compare, record, score
from pos.metrics.extraction import extract
from pos.metrics.features import FeatureSet
from pos.metrics.reference import Reference
from pos.pipeline import Pipeline, Request, Sample
from pos.storage import content_hash, lock_folder, write_atomic
from pos.summaries import cost, noise, rewriting

log = logging.getLogger(__name__)

WRITERS = 4
"""Threads that store videos while the next batch is being made: beside a GPU the file system is slow."""

BACKLOG = 1024
"""Videos that may wait to be stored."""


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        label: what the table calls it.
        method: what is done to noise and text.
        guidance: None takes the study's.
    """

    label: str
    method: Method
    guidance: float | None = None


@dataclass(frozen=True)
class Shard:
    """Which part of the videos this process makes, so that several machines can fill one folder.

    Args:
        index, count: part ``index`` of ``count``, counted from 0.

    Raises:
        PosError: an index outside 0 to count - 1.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise PosError(
                f"shard {self.index} of {self.count} is not allowed: the index goes from 0 to count - 1."
            )


@dataclass
class Study:
    """Runs a table on a benchmark.

    Attributes:
        name: of the study, for titles and provenance.
        pipeline: the parts that all rows share; its method is replaced by each row's.
        rows: by key; the first is the baseline that the others are compared with.
        benchmark: the prompts.
        seeds: of the base noise; every row uses the same (prompt, seed) pairs.
        out: folder of videos, features and results.
        resamples: bootstrap resamples of the intervals.
        score_batch: videos a batch for the detectors.
        shard: the part of the videos that this process makes; scoring needs all of them and so shard 0 of 1.

    Raises:
        PosError: no row, no seed, or a part that a row's method needs is absent.
    """

    name: str
    pipeline: Pipeline
    rows: dict[str, Row]
    benchmark: ShapesBenchmark
    seeds: Sequence[int]
    out: Path
    resamples: int = 500
    score_batch: int = 64
    shard: Shard = Shard()

    def __post_init__(self) -> None:
        self.out = Path(self.out)
        if not self.rows:
            raise PosError("rows is empty: a study needs at least one row.")
        if not self.seeds:
            raise PosError("seeds is empty: a study needs at least one seed.")
        for row in self.rows.values():  # what the last row lacks is said before the first is made
            self._pipeline(row)

    @property
    def requests(self) -> list[Request]:
        return [
            Request(prompt.text, seed, prompt.id) for seed in self.seeds for prompt in self.benchmark.prompts
        ]

    def generate(self) -> None:
        """Make this shard's videos of every row; those that are there already are kept.

        Raises:
            PosError: another run writes the same shard of this folder; whatever the pipeline raises.
        """
        lock = self.out / f"shard-{self.shard.index}-of-{self.shard.count}"
        with lock_folder(lock):
            for key, row in self.rows.items():
                pipeline = self._pipeline(row)
                folder = self._folder(key, pipeline)
                mine = self.requests[self.shard.index :: self.shard.count]
                todo = [request for request in mine if not (folder / f"{_stem(request)}.json").exists()]
                log.info("%s: %d videos, %d to make", row.label, len(mine), len(todo))
                _store_all(pipeline.generate(todo), folder)

    def score(
        self, detectors: Detectors, reference: Reference, device: torch.device | str = "cpu"
    ) -> dict[str, Any]:
        """Score every row and compare it with the first; needs all videos.

        Returns:
            JSON-able: ``study``, ``setting``, and ``rows`` by key with label, method, guidance, metrics,
            differences (None for the first), cost, noise, rewriting (None where nothing is rewritten) and the
            folder of the videos.

        Raises:
            PosError: a video is missing.
        """
        results, baseline = {}, None
        for key, row in self.rows.items():
            pipeline = self._pipeline(row)
            folder = self._folder(key, pipeline)
            provenance = [_read_provenance(folder, request) for request in self.requests]
            scored = score(
                self._features(key, folder, detectors, device), reference, resamples=self.resamples
            )
            baseline = baseline or scored
            results[key] = {
                "label": row.label,
                "method": jsonable(asdict(row.method)),
                "guidance": pipeline.guidance,
                "metrics": record(scored.estimates),
                "differences": record(compare(scored, baseline)) if scored is not baseline else None,
                "cost": cost(provenance),
                "noise": noise(provenance),
                "rewriting": rewriting(provenance),
                "videos": str(folder.relative_to(self.out)),
            }
        return {"study": self.name, "setting": self._setting(detectors), "rows": results}

    def samples(
        self, ids: Sequence[str]
    ) -> Iterator[tuple[dict[str, Any], dict[str, Tensor], Tensor | None]]:
        """For the report: provenance and video of every row, and the retrieved clip, of each prompt.

        Args:
            ids: of the prompts; the videos are those of the first seed.
        """
        folders = {key: self._folder(key, self._pipeline(row)) for key, row in self.rows.items()}
        chosen = {request.id: request for request in self.requests if request.seed == self.seeds[0]}
        pipeline = self.pipeline
        for request in (chosen[name] for name in ids):
            provenance = {key: _read_provenance(folder, request) for key, folder in folders.items()}
            videos = {key: _read(folder, request, pipeline.frames) for key, folder in folders.items()}
            found = next(
                (entry["neighbours"][0] for entry in provenance.values() if entry["neighbours"]), None
            )
            clip = (
                pipeline.retriever.pool.video(
                    found["index"], pipeline.frames, pipeline.height, pipeline.width
                )
                if found
                else None
            )
            yield provenance, videos, clip

    def write_records(self, path: Path) -> None:
        """One JSON line a video: its row and provenance."""
        lines = []
        for key, row in self.rows.items():
            folder = self._folder(key, self._pipeline(row))
            for request in self.requests:
                lines.append(
                    json.dumps({"row": key, **_read_provenance(folder, request)}, ensure_ascii=False)
                )
        write_atomic(path, "\n".join(lines) + "\n")

    def _pipeline(self, row: Row) -> Pipeline:
        guidance = self.pipeline.guidance if row.guidance is None else row.guidance
        return replace(self.pipeline, method=row.method, guidance=guidance)

    def _folder(self, key: str, pipeline: Pipeline) -> Path:
        """Named by the configuration, so that other settings never overwrite or reuse these videos."""
        return self.out / "videos" / f"{key}-{pipeline.config_hash[:8]}"

    def _features(
        self, key: str, folder: Path, detectors: Detectors, device: torch.device | str
    ) -> FeatureSet:
        requests = self.requests
        path = (
            folder
            / f"features-{content_hash([_stem(r) for r in requests], detectors.fingerprints)}.safetensors"
        )
        if path.exists():
            return FeatureSet.load(path)
        features = extract(
            (_read(folder, request, self.pipeline.frames) for request in requests),
            [request.id for request in requests],
            [request.prompt for request in requests],
            detectors,
            device=device,
            batch_size=self.score_batch,
            label=f"Scoring {self.rows[key].label}",
        )
        features.save(path)
        return features

    def _setting(self, detectors: Detectors) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark.name,
            "prompts": len(self.benchmark.prompts),
            "seeds": list(self.seeds),
            "steps": self.pipeline.steps,
            "guidance": self.pipeline.guidance,
            "backbone": self.pipeline.backbone.name,
            "weights": self.pipeline.backbone.fingerprint,
            "precision": str(self.pipeline.backbone.dtype).removeprefix("torch."),
            "device": str(self.pipeline.backbone.device),
            "detectors": detectors.fingerprints,
            "resamples": self.resamples,
        }


def _store_all(samples: Iterator[Sample], folder: Path) -> None:
    """Store videos as they come. A failure (a full disk) ends the making of more, not only the storing."""
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(WRITERS) as writers:
        for sample in samples:
            waiting.append(writers.submit(store, sample, folder, _stem(sample.request)))
            while waiting and (waiting[0].done() or len(waiting) > BACKLOG):
                waiting.popleft().result()
        for job in waiting:
            job.result()


def _stem(request: Request) -> str:
    return f"{request.id}-s{request.seed}"


def _read(folder: Path, request: Request, frames: int) -> Tensor:
    return read_video(folder / f"{_stem(request)}.safetensors", frames)


def _read_provenance(folder: Path, request: Request) -> dict[str, Any]:
    path = folder / f"{_stem(request)}.json"
    if not path.exists():
        raise PosError(f"{path} is not there yet: make the videos of all shards first.")
    provenance = json.loads(path.read_text(encoding="utf-8"))
    if provenance["prompt"] != request.prompt:
        raise PosError(f"{path} is of another prompt, and is kept: choose another out=DIR.")
    return provenance
