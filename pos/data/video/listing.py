"""Which files of a folder are videos, and which of them are the ones that a benchmark names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath

from safetensors import SafetensorError, safe_open

from pos.data.video.decoding import STILL_IMAGES, TENSOR_NAME
from pos.errors import PosError

SUFFIXES = (
    ".safetensors",
    ".mp4",
    ".webm",
    ".mkv",
    ".avi",
    ".mov",
    ".gif",
    ".webp",
)  # the first of a stem is read
_KNOWN = {*SUFFIXES, *STILL_IMAGES, ".m4v", ".mpg", ".mpeg", ".flv", ".wmv"}


def list_videos(folder: Path) -> list[Path]:
    """The videos of a folder in the order of their names: files, and subfolders of image frames.

    Of files that differ only in their suffix the lossless one counts: our previews stand beside it. Where
    there is no video, images count as videos of one frame.

    Raises:
        PosError: the folder is absent or holds no video.
    """
    if not folder.is_dir():
        fault = "is no folder" if folder.exists() else "does not exist"
        raise PosError(f"The folder of videos {folder} {fault}.")
    chosen: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=_preference):
        if _may_be_video(path):
            chosen.setdefault(path.stem, path)
    if not chosen:
        chosen = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in STILL_IMAGES}
    if not chosen:
        raise PosError(
            f"{folder} holds no video: neither {', '.join(SUFFIXES)} nor images nor folders of frames."
        )
    return [chosen[stem] for stem in sorted(chosen)]


def find_videos(names: Sequence[str], folder: Path) -> list[Path | None]:
    """The files that a benchmark names, wherever in a folder they lie and whatever their suffix is.

    Args:
        names: relative paths as in the official lists, ``YoYo/v_YoYo_g01_c01.avi``. The file of that path is
            taken, else one beside it with another suffix (or a folder of frames), else one of the same name
            in any subfolder.
        folder: links in it are followed.

    Returns:
        None for each that is not there.

    Raises:
        PosError: the folder is absent or holds none, or two subfolders hold files of one name.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PosError(f"The folder of real videos {folder} does not exist.")
    wanted = {PurePath(name).stem for name in names}
    known: dict[str, list[Path]] = defaultdict(list)
    for root, folders, files in os.walk(folder, followlinks=True):
        for name in wanted.intersection(folders):
            known[name].append(Path(root, name))
        for name in files:
            stem, suffix = os.path.splitext(name)
            if stem in wanted and suffix.lower() in _KNOWN:
                known[stem].append(Path(root, name))
    if not known:
        raise PosError(
            f"{folder} holds none of the {len(names):,} videos that the benchmark names, such as {names[0]}: "
            "is this the folder that they lie in?"
        )
    return [_one_of(known[PurePath(name).stem], folder / name) for name in names]


def _one_of(candidates: list[Path], official: Path) -> Path | None:
    if official in candidates or not candidates:
        return official if candidates else None
    beside = [path for path in candidates if path.parent == official.parent] or candidates
    apart = sorted({path.parent for path in beside})
    if len(apart) > 1:
        raise PosError(f"Both {apart[0]} and {apart[1]} hold a {official.stem}: keep one of them.")
    return min(beside, key=_preference)


def _may_be_video(path: Path) -> bool:
    """By its name; a .safetensors that can be read must hold a video too (features stand beside ours)."""
    if path.name.startswith(".") or not (path.is_dir() or path.suffix.lower() in SUFFIXES):
        return False
    if path.suffix != ".safetensors":
        return True
    try:
        with safe_open(path, framework="pt") as stream:
            return TENSOR_NAME in stream.keys()  # noqa: SIM118 (safe_open is no mapping)
    except (SafetensorError, OSError):
        return True  # reading it reports the damage


def _preference(path: Path) -> tuple[int, str]:
    suffix = path.suffix.lower()
    return (SUFFIXES.index(suffix) if suffix in SUFFIXES else len(SUFFIXES), path.name)
