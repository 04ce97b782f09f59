"""The folder that generated videos are written to and read from; ``generate`` and studies share it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Event

from torch import Tensor

from pos.data.video.reading import read_video
from pos.data.video.writing import write_lossless, write_preview
from pos.errors import PosError
from pos.pipeline import Pipeline
from pos.provenance import Provenance, Request, Sample
from pos.storage import lock_folder, read_json, write_atomic

log = logging.getLogger(__name__)

PROMPTS = "prompts.json"
"""In the folder of a study: the prompt of every id that it has videos of."""

WRITERS = 2
"""Threads that write videos while the next batch is generated."""

BACKLOG = 1024
"""Videos that may wait to be written."""


def file_stem(label: str, seed: int) -> str:
    """The name of a video's files without the ending.

    The only place where the label of a request, or an id of a benchmark or of a user's file, becomes a name.
    """
    return f"{label}-s{seed}"


@dataclass(frozen=True)
class VideoFolder:
    """Videos of one pipeline: ``STEM.safetensors``, ``STEM.json`` (provenance) and perhaps ``STEM.gif``.

    The provenance is written last: where it exists, the video is complete.

    Attributes:
        path: the folder.
        config: ``config_hash`` of the pipeline whose videos it holds.
        preview_fps: frames a second of the GIFs; None writes none.
    """

    path: Path
    config: str
    preview_fps: float | None = None

    def file(self, request: Request, kind: str) -> Path:
        """The path of a video's file.

        Args:
            request: whose video.
            kind: ``safetensors``, ``json`` or ``gif``.
        """
        return self.path / f"{file_stem(request.label or request.id, request.seed)}.{kind}"

    def features_file(self, key: str) -> Path:
        """The path of features of these videos.

        Args:
            key: a ``content_hash`` of all that decides them; 16 hex digits.
        """
        return self.path / f"features-{key}.safetensors"

    def fill(self, pipeline: Pipeline, requests: Sequence[Request]) -> None:
        """Generate and write the videos that do not exist yet.

        An existing video is kept, unless the language model did not answer when it was generated and does
        now. What was generated before an interruption is written.

        Raises:
            PosError: a file of another prompt or configuration exists under one of the names, or is damaged;
                the folder cannot be written; whatever the pipeline raises.
        """
        existing = [(request, self.find(request)) for request in requests]
        unanswered = [request for request, found in existing if found and not found.answered]
        again = set(pipeline.answered(unanswered))
        if again:
            self._remove_features()
        todo = [request for request, found in existing if found is None or request in again]
        log.info("%s: %d videos, %d to generate", self.path, len(requests), len(todo))
        self._write_all(pipeline.generate(todo))

    def find(self, request: Request) -> Provenance | None:
        """The provenance of an existing video; None where there is none.

        Raises:
            PosError: the file is damaged, or is of another prompt or configuration.
        """
        path = self.file(request, "json")
        if not path.exists():
            return None
        found = read_provenance(path)
        if found.prompt != request.prompt:
            raise PosError(f"{path} is of another prompt, and is kept: choose another out=DIR.")
        if (found.seed, found.id, found.settings.config) != (request.seed, request.id, self.config):
            raise PosError(f"{path} is of a video with other settings, and is kept: choose another out=DIR.")
        return found

    def provenance(self, request: Request) -> Provenance:
        """The provenance of a video that must exist.

        Raises:
            PosError: as ``find``, or there is none.
        """
        found = self.find(request)
        if found is None:
            path = self.file(request, "json")
            raise PosError(f"{path} does not exist yet: generate the videos of all shards first.")
        return found

    def video(self, request: Request, frames: int) -> Tensor:
        """A video, uint8 (frames, 3, h, w).

        Raises:
            PosError: it is missing or damaged.
        """
        return read_video(self.file(request, "safetensors"), frames)

    def store(self, sample: Sample) -> None:
        """Write a video, its preview and, last, its provenance.

        Raises:
            PosError: the folder cannot be written.
        """
        write_lossless(self.file(sample.request, "safetensors"), sample.video)
        preview = self.file(sample.request, "gif")
        if self.preview_fps is not None:
            write_preview(preview, sample.video, self.preview_fps)
        record = json.dumps(sample.provenance.to_json(), indent=1, ensure_ascii=False)
        write_atomic(self.file(sample.request, "json"), record + "\n")
        if self.preview_fps is not None:
            log.info("%s", preview)

    def _write_all(self, samples: Iterator[Sample]) -> None:
        """Write videos while the next are generated; a failure to write (a full disk) ends the generation.

        The thread that generates hands its videos to a queue, and never waits for one to be written.
        """
        waiting: Queue[Sample | None] = Queue(BACKLOG)
        failed = Event()
        with ThreadPoolExecutor(WRITERS) as pool:
            writers = [pool.submit(self._write, waiting, failed) for _ in range(WRITERS)]
            try:
                for sample in samples:
                    if failed.is_set():
                        break
                    waiting.put(sample)
            finally:
                for _ in writers:
                    waiting.put(None)
            for writer in writers:
                writer.result()

    def _write(self, waiting: Queue[Sample | None], failed: Event) -> None:
        """Write videos until None comes; after a failure only take them, so that the queue does not fill."""
        failure: Exception | None = None
        while (sample := waiting.get()) is not None:
            try:
                if failure is None:
                    self.store(sample)
            except Exception as error:  # noqa: BLE001 - raised below, when nothing waits any more
                failure = error
                failed.set()
        if failure is not None:
            raise failure

    def _remove_features(self) -> None:
        """Remove the features of videos, some of which are about to be replaced."""
        for path in self.path.glob(self.features_file("[0-9a-f]" * 16).name):
            path.unlink()


def read_provenance(path: Path) -> Provenance:
    """The provenance in a JSON file, written by this version or an earlier one.

    Raises:
        PosError: the file is damaged.
    """
    return read_json(path, Provenance.from_json)


def claim(folder: Path, benchmark: str, prompts: Mapping[str, str]) -> None:
    """Record the prompts that the videos of a study's folder are of; prompts may be added at any time.

    Args:
        folder: of the study; other shards may claim it at the same time.
        benchmark: its name, for the error.
        prompts: by id.

    Raises:
        PosError: the folder has videos of another manifest, in which one of these ids has another prompt.
    """
    path = folder / PROMPTS
    with lock_folder(folder, name=f".{PROMPTS}.lock", wait=True):
        known = read_json(path) if path.exists() else {}
        other = next((name for name, text in prompts.items() if known.get(name, text) != text), None)
        if other is not None:
            raise PosError(
                f"{folder} holds videos of another manifest than this one of {benchmark}: its {other} is "
                f"'{known[other]}' there and '{prompts[other]}' here; choose another out=DIR."
            )
        if not prompts.keys() <= known.keys():
            write_atomic(path, json.dumps({**known, **prompts}, indent=0, ensure_ascii=False) + "\n")
