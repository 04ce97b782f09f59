"""Real videos, of a folder or of a manifest, read one after the other by a policy for those with a fault."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor
from tqdm.auto import tqdm

from pos.data.benchmarks.manifest import Item, Manifest
from pos.data.video.faults import Fault, Faults
from pos.data.video.listing import find_videos, list_videos
from pos.data.video.reading import read_counted
from pos.errors import PosError
from pos.storage import content_hash, file_digest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RealVideos:
    """Real videos in their order.

    Attributes:
        paths: files, or folders of frames; None for one that is missing.
        digests: hashes of the files' contents.
        faults: what becomes of those with a fault.
        source: a description of the videos for reports.
        remedy: what to do about a fault that stops, with a place for its name.
        record: name and hash of the manifest that they are of; empty for a folder without one.
    """

    paths: list[Path | None]
    digests: list[str | None]
    faults: Faults
    source: str
    remedy: str
    record: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_folder(cls, folder: Path, unreadable: Literal["error", "skip"] = "error") -> RealVideos:
        """Every video of a folder (``list_videos``); those that are too short repeat their last frame.

        Raises:
            PosError: the folder holds no video, or ``unreadable`` is neither error nor skip.
        """
        if unreadable not in ("error", "skip"):
            raise PosError(f"unreadable must be error or skip, not {unreadable!r}.")
        paths = list_videos(Path(folder))
        remedy = "Set unreadable=skip to leave such videos out."
        return cls(paths, _digests(paths), Faults(corrupt=unreadable), str(folder), remedy)

    @classmethod
    def of_manifest(cls, manifest: Manifest, folder: Path) -> RealVideos:
        """The videos that a manifest names (``find_videos``), under the policy that it carries.

        Raises:
            PosError: the folder is absent or holds none, a file is not the one that the manifest was
                made from, one is missing whose policy is ``error``, or the benchmark has no files.
        """
        if any(item.video is None for item in manifest.items):
            raise PosError(f"The benchmark {manifest.name} renders its own clips: leave videos out.")
        paths = find_videos([item.video for item in manifest.items], folder)
        faults = Faults(**manifest.choices.get("faults", {}))
        remedy = "Make the manifest with faults.{fault}=skip to leave such videos out."
        record = {"benchmark": manifest.name, "manifest": manifest.hash}
        if faults.missing == "error" and None in paths:
            absent = Path(folder) / manifest.items[paths.index(None)].video
            raise PosError(f"The video {absent} does not exist. {remedy.format(fault='missing')}")
        videos = cls(paths, _digests(paths), faults, f"{manifest.name} in {folder}", remedy, record)
        _check_same(manifest.items, videos, folder)
        return videos

    def __len__(self) -> int:
        return len(self.paths)

    def read(
        self, frames: int, size: tuple[int, int] | None, start: int = 0
    ) -> Iterator[tuple[Tensor | None, Fault | None]]:
        """Decode them from place ``start`` on: the first ``frames`` of each, at the requested size.

        Yields:
            For every place the video, uint8 (frames, 3, height, width), or None where it is left out; and its
            fault.

        Raises:
            PosError: a fault whose policy is ``error``.
        """
        for path in self.paths[start:]:
            yield (None, "missing") if path is None else self._read_one(path, frames, size)

    def _read_one(
        self, path: Path, frames: int, size: tuple[int, int] | None
    ) -> tuple[Tensor | None, Fault | None]:
        try:
            video, held = read_counted(path, frames, size, stride=1)
        except PosError as error:
            self._stop_at("corrupt", str(error))
            log.warning("Left out: %s", error)
            return None, "corrupt"
        if held.frames >= frames:
            return video, None
        self._stop_at("short", f"The video {path} holds {held.frames} frames, and {frames} are needed.")
        return (video if self.faults.short == "pad" else None), "short"

    def _stop_at(self, fault: Fault, said: str) -> None:
        if self.faults.of(fault) == "error":
            raise PosError(f"{said} {self.remedy.format(fault=fault)}")


def _check_same(items: Sequence[Item], videos: RealVideos, folder: Path) -> None:
    """Check that the files are those of the manifest, by the hashes that it holds."""
    strange = [
        path
        for item, path, digest in zip(items, videos.paths, videos.digests, strict=True)
        if path is not None and (item.fault == "missing" or item.sha256 not in (None, digest))
    ]
    if strange:
        raise PosError(
            f"{len(strange):,} of the {len(items):,} videos of {folder} are not those that the manifest was "
            f"made from, such as {strange[0]}: give the folder that it was made from, or make it again."
        )


def _digests(paths: Sequence[Path | None]) -> list[str | None]:
    shown = tqdm(paths, desc="Hashing real videos", unit="video")
    return [None if path is None else digest_of(path) for path in shown]


def digest_of(path: Path) -> str:
    """The sha256 of a file, or a hash of the names and files of a folder of frames."""
    if path.is_file():
        return file_digest(path)
    return content_hash([[file.name, file_digest(file)] for file in sorted(path.iterdir()) if file.is_file()])
