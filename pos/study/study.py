"""A study: the videos of rows x prompts x seeds, generated on one machine or several and resumable."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from pos.data.benchmarks.benchmark import Benchmark
from pos.errors import PosError
from pos.evaluation.bootstrap import check_resamples
from pos.evaluation.frames import GENERATED, Frames
from pos.pipeline import Pipeline
from pos.provenance import Provenance, Request
from pos.storage import lock_folder, write_atomic
from pos.study.rows import Row, Shard
from pos.video_folder import VideoFolder, claim

log = logging.getLogger(__name__)

SHARE = "give each machine a shard.index of its own below one shard.count, choose another out=DIR, or wait"
"""The remedy in the error of a second run of the same shard."""


@dataclass
class Study:
    """Runs a table on a benchmark.

    Attributes:
        name: of the study, for titles and files.
        pipeline: what the rows share; its method is replaced by each row's.
        rows: by key; the others are compared with the first.
        benchmark: the prompts.
        seeds: of the base noise; every row uses the same (prompt, seed) pairs.
        out: folder of videos, features and results.
        resamples: bootstrap resamples of the intervals.
        score_batch: videos a batch for the detectors.
        shard: the part of the videos that this process generates; scoring needs all videos.
        frames: which frames of a video are scored.
        splits: of the inception score.
        missing: why a shared part (``retriever``, ``rewriter``, ``npnet``) is missing, one sentence each.
        gaps: why a row cannot be generated, one sentence by key; rows that need a missing part are added.
            The other rows are generated.
        settings: eta and gamma by variant and their source, for the record.
        pipelines: of the rows that can be generated, by key.

    Raises:
        PosError: no seed, two rows of one label, or no row can be generated.
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
    missing: Mapping[str, str] = field(default_factory=dict)
    gaps: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.out = Path(self.out)
        if not self.seeds:
            raise PosError("seeds is empty: a study needs at least one seed.")
        check_resamples(self.resamples)  # before videos are generated
        labels = [row.label for row in self.rows.values()]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:  # the label identifies a line of a table
            raise PosError(f"Two rows of {self.name} have the label {twice!r}: give each row its own.")
        for row in self.rows.values():
            if row.against is not None and row.against not in self.rows:  # it may have been left out
                log.info("%s is not compared with %s, which is no row here.", row.label, row.against)
        self.gaps, self.pipelines = dict(self.gaps), {}
        for key, row in self.rows.items():  # missing parts are reported before any video
            if key in self.gaps:
                continue
            try:
                self.pipelines[key] = self._pipeline(row)
            except PosError as error:
                self.gaps[key] = str(error)
        if self.rows and not self.pipelines:
            raise PosError(f"No row of {self.name} can be generated. {next(iter(self.gaps.values()))}")
        for key, reason in self.gaps.items():
            log.warning("%s is left out: %s", self.rows[key].label, reason)

    @property
    def requests(self) -> list[Request]:
        """A request for every seed and prompt, seed by seed."""
        return [
            Request(prompt.text, seed, prompt.id) for seed in self.seeds for prompt in self.benchmark.prompts
        ]

    def generate(self) -> None:
        """Generate this shard's videos of every row; existing ones are kept.

        Raises:
            PosError: another run writes the same shard of this folder; the folder is of another manifest;
                whatever the pipeline raises.
        """
        lock = self.out / f"shard-{self.shard.index}-of-{self.shard.count}"
        with lock_folder(lock, SHARE):
            prompts = {prompt.id: prompt.text for prompt in self.benchmark.prompts}
            claim(self.out, self.benchmark.name, prompts)
            for key, pipeline in self.pipelines.items():
                log.info("%s", self.rows[key].label)
                self.videos(key).fill(pipeline, self.requests[self.shard.index :: self.shard.count])

    def videos(self, key: str) -> VideoFolder:
        """The videos of a row, in a folder named by the row and the hash of its configuration.

        Videos of other settings are neither overwritten nor used; a row of another study with the same
        settings uses these.
        """
        videos, config = self.out / "videos", self.pipelines[key].config_hash
        path = videos / f"{key}-{config[:8]}"
        if not path.exists():
            path = next(iter(sorted(videos.glob(f"*-{config[:8]}"))), path)
        return VideoFolder(path, config)

    def provenances(self, key: str) -> list[Provenance]:
        """The provenance of every video of a row, in the order of ``requests``.

        Raises:
            PosError: a video is missing, or its provenance is damaged or of another prompt.
        """
        folder = self.videos(key)
        return [folder.provenance(request) for request in self.requests]

    def samples(
        self, ids: Sequence[str]
    ) -> Iterator[tuple[dict[str, Provenance], dict[str, Tensor], Tensor | None]]:
        """Examples for the report, of the first seed.

        Args:
            ids: of prompts.

        Yields:
            Of each prompt the provenance and the video uint8 (f, 3, h, w), both by row, and the retrieved
            clip, None where no row retrieves one.
        """
        chosen = {request.id: request for request in self.requests if request.seed == self.seeds[0]}
        folders = {key: self.videos(key) for key in self.pipelines}
        frames, height, width = self.pipeline.frames, self.pipeline.height, self.pipeline.width
        for request in (chosen[name] for name in ids):
            provenances = {key: folder.provenance(request) for key, folder in folders.items()}
            videos = {key: folder.video(request, frames) for key, folder in folders.items()}
            found = next((key for key, entry in provenances.items() if entry.neighbours), None)
            clip = None
            if found is not None:
                index = provenances[found].neighbours[0].index
                clip = self.pipelines[found].retriever.pool.video(index, frames, height, width)
            yield provenances, videos, clip

    def write_records(self, path: Path) -> None:
        """Write one JSON line for each video: its row and its provenance."""
        rows = [{"row": key, **entry.to_json()} for key in self.pipelines for entry in self.provenances(key)]
        write_atomic(path, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))

    def _pipeline(self, row: Row) -> Pipeline:
        reason = next((self.missing[part] for part in row.parts if part in self.missing), None)
        if reason is not None:
            raise PosError(reason)
        return row.pipeline(self.pipeline)
