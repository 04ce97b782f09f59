"""Statistics of a folder of real videos, kept by content and resumable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from pos.errors import PosError
from pos.metrics.detectors import Detectors
from pos.metrics.extraction import gather, merged
from pos.metrics.folder import Entry, list_videos, read_videos
from pos.metrics.frames import REAL, Frames
from pos.metrics.frechet import FeatureStatistics
from pos.metrics.reference import DETECTORS, Reference, pack, unpack
from pos.storage import TensorCache, content_hash, file_digest


class FolderStatistics:
    """The reference statistics of the videos in a folder.

    They are kept under a key of what the files hold, of the frames and of the detectors' weights: the second
    time nothing is decoded, and a killed run goes on after the last batch that it finished.

    Args:
        folder: of videos (``folder.list_videos``).
        detectors: the weights that the statistics will belong to.
        frames: which ones are read; a video that is too short repeats its last.
        cache: the folder to keep statistics in.
        unreadable: ``error`` or ``skip`` (``folder.read_videos``).

    Raises:
        PosError: the folder holds no video.
    """

    def __init__(
        self,
        folder: Path,
        detectors: Detectors,
        cache: Path,
        frames: Frames = REAL,
        unreadable: Literal["error", "skip"] = "error",
    ) -> None:
        self.folder, self.detectors = Path(folder), detectors
        self.frames, self.unreadable = frames, unreadable
        self.entries = [Entry(path, "", path.stem) for path in list_videos(self.folder)]
        fingerprints = {name: detectors.fingerprints.get(name) for name in DETECTORS}
        choice = [frames.images, frames.clip, frames.step, unreadable]
        digests = [_digest(entry.path) for entry in self.entries]
        self.key = content_hash(digests, choice, fingerprints)
        self.cache = TensorCache(cache, "reference")

    def compute(self, device: torch.device | str = "cpu", batch_size: int = 64) -> Reference:
        """The statistics, from the cache as far as they are there.

        Raises:
            PosError: a video cannot be read, none can, or the detectors do not take one.
        """
        known = self.cache.get(self.key) or {"progress": torch.zeros(2, dtype=torch.long)}
        statistics, (done, read) = unpack(known), known["progress"].tolist()
        seen: list[int] = []  # places in the folder, which run ahead of the videos read where some cannot be
        batches = gather(
            self._videos(done, seen),
            len(self.entries) - done,
            self.detectors,
            frames=self.frames,
            device=device,
            batch_size=batch_size,
        )
        for count, batch in batches:
            statistics, read = merged(statistics, batch), read + count
            self._keep(statistics, seen[-1] + 1, read)
        if not statistics:
            raise PosError(
                f"No video of {self.folder} was read, or there is no detector of FID, CLIP-FID or FVD."
            )
        self._keep(statistics, len(self.entries), read)
        source = f"{read:,} of {len(self.entries):,} videos of {self.folder}"
        return Reference.gathered(statistics, self.detectors.fingerprints, source)

    def _videos(self, done: int, seen: list[int]) -> Iterator[Tensor]:
        places = {entry.path: place for place, entry in enumerate(self.entries)}
        size, count = self.detectors.size, self.frames.count
        for entry, video in read_videos(self.entries[done:], count, size, self.unreadable, stride=1):
            seen.append(places[entry.path])
            yield video

    def _keep(self, statistics: dict[str, FeatureStatistics], done: int, read: int) -> None:
        self.cache.put(self.key, {**pack(statistics), "progress": torch.tensor([done, read])})


def _digest(path: Path) -> str:
    if path.is_file():
        return file_digest(path)
    return content_hash([[file.name, file_digest(file)] for file in sorted(path.iterdir()) if file.is_file()])
