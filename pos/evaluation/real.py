"""Statistics of real videos, cached by the content of the files; a killed run resumes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pos.data.benchmarks.real_videos import RealVideos
from pos.errors import PosError
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.extraction import gather
from pos.evaluation.frames import REAL, Frames
from pos.evaluation.gathering import Gathered, needs_images
from pos.evaluation.reference import DETECTORS, Reference
from pos.storage import TensorCache, content_hash

log = logging.getLogger(__name__)

_FAULTS = ("missing", "corrupt", "short")


class RealStatistics:
    """The reference statistics of real videos.

    They are cached under a hash of the files' contents, the policy for faults, the frames and the detectors'
    weights: a second run decodes nothing, and a killed run resumes after its last finished batch.

    Args:
        videos: of a folder or of a manifest.
        detectors: the weights that the statistics will belong to.
        cache: the folder to keep statistics in.
        frames: which ones are read.
    """

    def __init__(self, videos: RealVideos, detectors: Detectors, cache: Path, frames: Frames = REAL) -> None:
        self.videos, self.detectors, self.frames = videos, detectors, frames
        fingerprints = {name: detectors.fingerprints.get(name) for name in DETECTORS}
        self.keep_images = needs_images(detectors.extra)
        choice = [frames.images, frames.clip, frames.step, asdict(videos.faults), self.keep_images]
        self.key = content_hash(videos.digests, choice, fingerprints)
        self.cache = TensorCache(cache, "reference")

    def compute(self, device: torch.device | str = "cpu", batch_size: int = 64) -> Reference:
        """The statistics, from the cache as far as it holds them.

        Raises:
            PosError: a fault whose policy is ``error``, no video can be read, or the detectors do not take
                one.
        """
        known = self.cache.get(self.key) or {"progress": torch.zeros(1 + len(_FAULTS), dtype=torch.long)}
        gathered, (done, *counts) = Gathered(known, self.keep_images), known["progress"].tolist()
        faults = Counter(dict(zip(_FAULTS, counts, strict=True)))
        reached = (done, faults.copy())

        def note(place: int) -> None:  # reading runs ahead of the batches where some cannot be read
            nonlocal reached
            reached = (place, faults.copy())

        batches = gather(
            self._readable(done, faults, note),
            len(self.videos) - done,
            self.detectors,
            frames=self.frames,
            device=device,
            batch_size=batch_size,
        )
        for rows in batches:
            gathered.add(rows)
            self._keep(gathered, *reached)
        if not gathered.statistics:
            raise PosError(f"No video of {self.videos.source} was read.")
        self._keep(gathered, len(self.videos), faults)
        return self._reference(gathered, faults)

    def _readable(self, done: int, faults: Counter[str], note: Callable[[int], None]) -> Iterator[Tensor]:
        found = self.videos.read(self.frames.count, self.detectors.size, done)
        for place, (video, fault) in enumerate(found, start=done + 1):
            faults.update([fault] if fault else [])
            if video is not None:
                note(place)
                yield video

    def _keep(self, gathered: Gathered, done: int, faults: Counter[str]) -> None:
        progress = torch.tensor([done, *(faults[name] for name in _FAULTS)])
        self.cache.put(self.key, {**gathered.tensors, "progress": progress})

    def _reference(self, gathered: Gathered, faults: Counter[str]) -> Reference:
        coverage = f"{gathered.read:,} of {len(self.videos):,}"
        record: dict[str, Any] = {
            "coverage": coverage,
            "faults": asdict(self.videos.faults),
            "found": {name: count for name, count in faults.items() if count},
            "images": list(self.frames.images),
            "clip": list(self.frames.clip_indices),
            **self.videos.record,
        }
        source = f"{coverage} videos of {self.videos.source}"
        fingerprints = self.detectors.fingerprints
        return Reference.gathered(gathered.statistics, fingerprints, source, record, gathered.images)
