"""The results of an evaluation, as ``results.json`` holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pos.errors import PosError
from pos.evaluation.bootstrap import Estimate
from pos.evaluation.frames import Frames
from pos.evaluation.sizes import Sizes
from pos.storage import write_atomic


@dataclass(frozen=True)
class Coverage:
    """Which videos were scored, and how much of the benchmark they cover.

    Attributes:
        videos: number of videos that were scored.
        unreadable: file names of those that were left out.
        prompts: number of different prompts of the scored videos.
        benchmark_prompts: number of prompts of the benchmark that have a video.
        benchmark_prompts_in_all: number of prompts of the benchmark.
    """

    videos: int
    unreadable: list[str]
    prompts: int
    benchmark_prompts: int
    benchmark_prompts_in_all: int


@dataclass(frozen=True)
class Evaluation:
    """The results of one folder of videos.

    Attributes:
        videos: the folder.
        benchmark: its name.
        manifest: hash of the benchmark's manifest.
        reference: the real videos, in words.
        reference_record: how they were read (``Reference.record``).
        detectors: fingerprint of each detector's weights.
        frames: the frames that were scored.
        splits: of the inception score.
        coverage: which videos were scored.
        resamples, seed: of the bootstrap.
        metrics: value and 95% interval by metric.
        sizes: distances at smaller numbers of videos, by metric.
        absent: why a metric is missing, one sentence, by metric.
        notes: what a reader must know about these numbers, one sentence each.
    """

    videos: str
    benchmark: str
    manifest: str
    reference: str
    reference_record: dict[str, Any]
    detectors: dict[str, str]
    frames: Frames
    splits: int
    coverage: Coverage
    resamples: int
    seed: int
    metrics: dict[str, Estimate]
    sizes: dict[str, Sizes]
    absent: dict[str, str]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Mappings, lists, texts and numbers alone; values that are not defined become None."""
        entries = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        written = {
            "frames": {**asdict(self.frames), "images": list(self.frames.images)},
            "coverage": asdict(self.coverage),
            "metrics": {name: estimate.to_json() for name, estimate in self.metrics.items()},
            "sizes": {name: sizes.to_json() for name, sizes in self.sizes.items()},
        }
        return entries | written

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Evaluation:
        """The reverse of ``to_json``; the record may be older than ``reference_record`` and ``sizes``.

        Raises:
            PosError: an entry is missing or unknown.
        """
        record = {"reference_record": {}, "sizes": {}, **record}
        try:
            read = {
                "frames": Frames(**record["frames"]),
                "coverage": Coverage(**record["coverage"]),
                "metrics": {name: Estimate.from_json(entry) for name, entry in record["metrics"].items()},
                "sizes": {name: Sizes.from_json(entry) for name, entry in record["sizes"].items()},
            }
            return cls(**{**record, **read})
        except (AttributeError, KeyError, TypeError) as error:
            raise PosError(
                f"These are no results of an evaluation by this version ({error}): evaluate the videos again."
            ) from error

    def save(self, folder: Path) -> None:
        """Write ``results.json`` to a folder."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n"
        write_atomic(Path(folder) / "results.json", text)

    @classmethod
    def load(cls, folder: Path) -> Evaluation:
        """Read ``results.json`` of a folder.

        Raises:
            PosError: there is none, or it cannot be read.
        """
        path = Path(folder) / "results.json"
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise PosError(
                f"{folder} holds no results.json: run experiments/evaluate.py videos=DIR out={folder} first."
            ) from error
        except ValueError as error:
            raise PosError(f"{path} is not JSON: {error}.") from error
