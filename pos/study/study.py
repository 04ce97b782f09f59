"""A study: rows of a table x prompts x seeds, generated on one machine or several; resumable."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from pos.data.benchmarks.benchmark import Benchmark
from pos.errors import PosError
from pos.evaluation.bootstrap import check_resamples
from pos.evaluation.frames import GENERATED, Frames
from pos.generation import store
from pos.pipeline import Pipeline
from pos.provenance import Request, Sample
from pos.spr.rewriting import unheard
from pos.storage import lock_folder, write_atomic
from pos.study.records import claim, read_made, read_provenance, stem
from pos.study.rows import Row, Shard

__all__ = ["Row", "Shard", "Study"]

log = logging.getLogger(__name__)

WRITERS = 4
"""Threads that store videos while the next batch is being made: beside a GPU the file system is slow."""

SHARE = "give each machine a shard.index of its own below one shard.count, choose another out=DIR, or wait"
"""What a second run of the same shard is told."""

BACKLOG = 1024
"""Videos that may wait to be stored."""


@dataclass
class Study:
    """Runs a table on a benchmark.

    Attributes:
        name: of the study, for titles and provenance.
        pipeline: the parts that all rows share; its method is replaced by each row's.
        rows: by key; the first is what the others are compared with.
        benchmark: the prompts.
        seeds: of the base noise; every row uses the same (prompt, seed) pairs.
        out: folder of videos, features and results.
        resamples: bootstrap resamples of the intervals.
        score_batch: videos a batch for the detectors.
        shard: the part of the videos that this process makes; scoring needs all of them and so shard 0 of 1.
        frames: which frames of a video are scored.
        splits: of the inception score.
        absent: why a part that rows share (``retriever``, ``rewriter``, ``npnet``) is not there, one sentence
            each.
        gaps: why a row cannot be made, one sentence by key; the others are made all the same. Rows that lack
            a part are added to those given.
        settings: eta and gamma by variant and where they come from, for the record.

    Raises:
        PosError: no seed, or no row can be made.
    """

    name: str
    pipeline: Pipeline
    rows: dict[str, Row]
    benchmark: Benchmark
    seeds: Sequence[int]
    out: Path
    resamples: int = 500
    score_batch: int = 64
    shard: Shard = field(default_factory=Shard)
    frames: Frames = GENERATED
    splits: int = 1
    absent: Mapping[str, str] = field(default_factory=dict)
    gaps: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.out = Path(self.out)
        if not self.seeds:
            raise PosError("seeds is empty: a study needs at least one seed.")
        check_resamples(self.resamples)  # here, and not when the videos are made
        labels = [row.label for row in self.rows.values()]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:  # a table's line is known by it
            raise PosError(f"Two rows of {self.name} have the label {twice!r}: give each row its own.")
        self.gaps, self.pipelines = dict(self.gaps), {}
        for key, row in self.rows.items():  # what a row lacks is said before the first is made
            if key in self.gaps:
                continue
            try:
                self.pipelines[key] = self._pipeline(row)
            except PosError as error:
                self.gaps[key] = str(error)
        if self.rows and not self.pipelines:
            raise PosError(f"No row of {self.name} can be made. {next(iter(self.gaps.values()))}")
        for key, reason in self.gaps.items():
            log.warning("%s is left out: %s", self.rows[key].label, reason)

    @property
    def requests(self) -> list[Request]:
        return [
            Request(prompt.text, seed, prompt.id) for seed in self.seeds for prompt in self.benchmark.prompts
        ]

    def generate(self) -> None:
        """Make this shard's videos of every row; those that are there already are kept.

        Raises:
            PosError: another run writes the same shard of this folder; the folder is of another manifest;
                whatever the pipeline raises.
        """
        lock = self.out / f"shard-{self.shard.index}-of-{self.shard.count}"
        with lock_folder(lock, SHARE):
            claim(self.out, self.benchmark.name, self.benchmark.prompts)
            for key, pipeline in self.pipelines.items():
                folder = self.folder(key)
                mine = self.requests[self.shard.index :: self.shard.count]
                there = {request: (folder / f"{stem(request)}.json").exists() for request in mine}
                todo = [request for request in mine if not there[request]]
                if pipeline.method.rewrites:
                    todo += _made_again(pipeline, folder, [request for request in mine if there[request]])
                log.info("%s: %d videos, %d to make", self.rows[key].label, len(mine), len(todo))
                _store_all(pipeline.generate(todo), folder)

    def samples(
        self, ids: Sequence[str]
    ) -> Iterator[tuple[dict[str, Any], dict[str, Tensor], Tensor | None]]:
        """For the report: provenance and video of every row, and the retrieved clip, of each prompt.

        Args:
            ids: of the prompts; the videos are those of the first seed.
        """
        chosen = {request.id: request for request in self.requests if request.seed == self.seeds[0]}
        folders = {key: self.folder(key) for key in self.pipelines}
        frames, height, width = self.pipeline.frames, self.pipeline.height, self.pipeline.width
        for request in (chosen[name] for name in ids):
            provenance = {key: read_provenance(folder, request) for key, folder in folders.items()}
            videos = {key: read_made(folder, request, frames) for key, folder in folders.items()}
            found = next((key for key, entry in provenance.items() if entry["neighbours"]), None)
            clip = None
            if found is not None:
                index = provenance[found]["neighbours"][0]["index"]
                clip = self.pipelines[found].retriever.pool.video(index, frames, height, width)
            yield provenance, videos, clip

    def write_records(self, path: Path) -> None:
        """One JSON line a video: its row and provenance."""
        lines = []
        for key in self.pipelines:
            folder = self.folder(key)
            lines += [
                json.dumps({"row": key, **read_provenance(folder, request)}, ensure_ascii=False)
                for request in self.requests
            ]
        write_atomic(path, "".join(f"{line}\n" for line in lines))

    def folder(self, key: str) -> Path:
        """The folder of a row's videos, named by the row and by all that decides what they look like.

        Other settings never overwrite or reuse these videos; a row of another study with the same settings
        uses them.
        """
        videos, config = self.out / "videos", self.pipelines[key].config_hash[:8]
        own = videos / f"{key}-{config}"
        return own if own.exists() else next(iter(sorted(videos.glob(f"*-{config}"))), own)

    def _pipeline(self, row: Row) -> Pipeline:
        method = row.method
        needed = {
            "retriever": method.retrieves,
            "rewriter": method.rewrites and row.rewriter is None,
            "npnet": method.predicts,
        }
        for part, reason in self.absent.items():
            if needed.get(part):
                raise PosError(reason)
        return row.pipeline(self.pipeline)


def _made_again(pipeline: Pipeline, folder: Path, requests: Sequence[Request]) -> list[Request]:
    """Of videos that are there, those made without an answer of the language model, which now gives one."""
    again = pipeline.answered([request for request in requests if unheard(read_provenance(folder, request))])
    for path in folder.glob("features-*.safetensors") if again else ():
        path.unlink()  # what the detectors saw of the videos that are replaced
    return again


def _store_all(samples: Iterator[Sample], folder: Path) -> None:
    """Store videos as they come. A failure (a full disk) ends the making of more, not only the storing."""
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(WRITERS) as writers:
        for sample in samples:
            waiting.append(writers.submit(store, sample, folder, stem(sample.request)))
            while waiting and (waiting[0].done() or len(waiting) > BACKLOG):
                waiting.popleft().result()
        for job in waiting:
            job.result()
