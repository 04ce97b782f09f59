"""A user's own clips as a pool: a folder of videos with a file of captions."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor
from tqdm.auto import tqdm

from pos.data.pools.pool import Pool
from pos.data.video.reading import read_video
from pos.errors import PosError
from pos.storage import RecordCache, content_hash, read_csv

log = logging.getLogger(__name__)

CAPTIONS_FILE = "captions.csv"


class FolderPool(Pool):
    """A user's own clips: a folder with ``captions.csv`` (columns ``video,caption``; others are ignored).

    ``video`` is a path relative to the folder: whatever ``read_video`` reads. A repeated line counts once, a
    clip may have several captions. Incomplete lines and clips that cannot be read are left out and counted in
    one warning.

    Args:
        path: the folder.
        cache: folder that remembers which clips are readable, by content; without it each start decodes all.

    Raises:
        PosError: there is no folder or captions file, a column is missing, or no clip is left.
    """

    def __init__(self, path: Path | str, cache: Path | str | None = None) -> None:
        self.folder = Path(path)
        faults = _Faults(cache)
        self.ids, self.captions = [], []
        self.contents = []
        skipped: list[str] = []
        for video, caption in tqdm(_read_captions(self.folder), desc="Checking clips", unit="clip"):
            if not video or not caption:
                skipped.append(f"The line '{video},{caption}' is incomplete.")
                continue
            content, fault = faults.of(self.folder / video)
            if fault:
                skipped.append(fault)
                continue
            self.ids.append(video)
            self.captions.append(caption)
            self.contents.append(content)
        self._report(skipped)
        self.fingerprint = content_hash("folder", self.ids, self.captions, self.contents)

    def _report(self, skipped: list[str]) -> None:
        first = " ".join(skipped[:3]) + (f" And {len(skipped) - 3} more." if len(skipped) > 3 else "")
        if not self.ids:
            raise PosError(f"The pool {self.folder} has no usable clip: {first or 'no line names one.'}")
        if skipped:
            log.warning("Left out %d of the pool %s: %s", len(skipped), self.folder, first)

    def video(self, index: int, frames: int, height: int, width: int) -> Tensor:
        return read_video(self.folder / self.ids[index], frames, (height, width))


def _read_captions(folder: Path) -> list[tuple[str, str]]:
    """The distinct (video, caption) lines of a folder, in order."""
    path = folder / CAPTIONS_FILE
    if not folder.is_dir():
        raise PosError(f"The pool folder {folder} does not exist.")
    if not path.is_file():
        raise PosError(f"The pool folder {folder} has no {CAPTIONS_FILE} with the columns video,caption.")
    rows = read_csv(path, "captions file", ["video", "caption"])
    pairs = [((row["video"] or "").strip(), (row["caption"] or "").strip()) for _, row in rows]
    return list(dict.fromkeys(pairs))


class _Faults:
    """Why clips cannot be used, remembered by content: finding out takes a full decoding."""

    def __init__(self, cache: Path | str | None) -> None:
        self._known = None if cache is None else RecordCache(cache, "clip_faults")

    def of(self, path: Path) -> tuple[str, str | None]:
        """The content hash of a clip, and the sentence that says what is wrong with it or None."""
        if not path.exists():
            return "", f"The video {path} does not exist."
        content = _hash_of(path)
        key = content_hash(str(path), content)
        known = self._known.get(key) if self._known else None
        if known is not None:
            return content, known["fault"]
        fault = None
        try:
            read_video(path, frames=1)
        except PosError as error:
            fault = str(error)
        if self._known:
            self._known.put(key, {"fault": fault})
        return content, fault


def _hash_of(path: Path) -> str:
    """Hash of a file's bytes, or of the names and bytes of a folder of frames."""
    digest = hashlib.sha256()
    for file in _files_of(path):
        digest.update(f"{file.name}:{file.stat().st_size}:".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _files_of(path: Path) -> Iterator[Path]:
    yield from sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
