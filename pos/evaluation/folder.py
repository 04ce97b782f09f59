"""Any folder of videos with their prompts: mp4, webm, gif, folders of frames or our lossless files."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from pos.data.video.listing import list_videos
from pos.data.video.reading import Original, read_counted
from pos.errors import PosError
from pos.storage import content_hash, read_csv, read_jsonl, read_text

logger = logging.getLogger(__name__)

_PROMPT_FILES = ("prompts.csv", "prompts.jsonl")


@dataclass(frozen=True)
class Entry:
    """One video and its prompt.

    Attributes:
        path: the file, or the folder of its frames.
        prompt: the original prompt.
        id: names the prompt; several seeds of it share the id.
    """

    path: Path
    prompt: str
    id: str


def match_prompts(
    folder: Path, prompts: Path | None = None, known: Mapping[str, str] | None = None
) -> list[Entry]:
    """The videos of a folder with their prompts.

    Prompts come from the file given: .csv or .jsonl with ``video`` and ``prompt`` (and ``id``, if there is
    one), or .txt with one prompt a line in the order of the videos' names. Without a file they come from
    ``prompts.csv`` or ``prompts.jsonl`` in the folder, else from ``<video>.json`` beside each video, else
    from ``known``, prompts by id, where a video's name is an id.

    Raises:
        PosError: a video has no prompt, or a prompt no video.
    """
    folder = Path(folder)
    videos = list_videos(folder)
    if prompts is None:
        prompts = next((folder / name for name in _PROMPT_FILES if (folder / name).is_file()), None)
    if prompts is None:
        return [Entry(path, *_provenance(path, known or {})) for path in videos]
    rows = _read_prompts(Path(prompts), videos)
    by_name = {path.stem: path for path in videos} | {path.name: path for path in videos}
    strangers = [name for name in rows if name not in by_name]
    if strangers:
        raise PosError(
            f"{prompts} names {len(strangers)} videos that {folder} does not hold, such as {strangers[0]}."
        )
    found = {by_name[name]: row for name, row in rows.items()}
    if len(found) < len(rows):
        raise PosError(
            f"{prompts} names {len(rows)} videos, and some of them twice: {folder} has {len(found)}."
        )
    orphans = [path.name for path in videos if path not in found]
    if orphans:
        raise PosError(
            f"{len(orphans)} videos of {folder} have no prompt in {prompts}, such as {orphans[0]}."
        )
    return [Entry(path, *found[path]) for path in videos]


def _read_prompts(path: Path, videos: list[Path]) -> dict[str, tuple[str, str]]:
    if not path.is_file():
        raise PosError(f"The prompts file {path} does not exist.")
    if path.suffix == ".txt":
        text = read_text(path, "prompts file")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if len(lines) != len(videos):
            raise PosError(f"{path} holds {len(lines)} prompts for {len(videos)} videos: give one a video.")
        return {video.name: _row(path, {"prompt": line}) for video, line in zip(videos, lines, strict=True)}
    if path.suffix == ".csv":
        records: list[dict[Any, Any]] = [row for _, row in read_csv(path, "prompts file")]
    elif path.suffix == ".jsonl":
        records = [record if isinstance(record, dict) else {} for record in read_jsonl(path)]
    else:
        raise PosError(f"The prompts file {path} must end in .csv, .jsonl or .txt.")
    for record in records:
        if not record.get("video"):
            raise PosError(
                f"{path} needs a column 'video' that names a file, and has {', '.join(map(str, record))}."
            )
    return {str(record["video"]): _row(path, record) for record in records}


def _provenance(video: Path, known: Mapping[str, str]) -> tuple[str, str]:
    beside = video.with_suffix(".json")
    if not beside.is_file() and video.stem in known:
        return known[video.stem], video.stem
    if not beside.is_file():
        raise PosError(
            f"There is no prompt for {video}: give prompts=FILE (a .csv with the columns video,prompt), put "
            "prompts.csv into the folder, keep the .json that was written beside the video, or name the "
            "video by an id of the benchmark."
        )
    try:
        record = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PosError(f"{beside} is not JSON: {error}.") from error
    return _row(beside, record if isinstance(record, dict) else {})


def _row(path: Path, record: dict[str, Any]) -> tuple[str, str]:
    prompt = record.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise PosError(f"{path} holds an entry without a 'prompt': every video needs one that is not blank.")
    return prompt, str(record.get("id") or content_hash(prompt))


def read_videos(
    entries: Sequence[Entry],
    frames: int,
    size: tuple[int, int] | None,
    unreadable: Literal["error", "skip"] = "error",
) -> Iterator[tuple[Entry, Tensor, Original]]:
    """Decode videos one after the other, at the size that the detectors take.

    Args:
        entries: of ``match_prompts``.
        frames: how many of a video, spread over all of it.
        size: (height, width); None keeps every video's own.
        unreadable: ``error`` stops at the first video that cannot be read, ``skip`` leaves it out, with a
            warning.

    Yields:
        The entries that could be read with their videos, uint8 (frames, 3, height, width), and what they were
        before.

    Raises:
        PosError: a video cannot be read.
    """
    if unreadable not in ("error", "skip"):
        raise PosError(f"unreadable must be error or skip, not {unreadable!r}.")
    for entry in entries:
        try:
            video, original = read_counted(entry.path, frames, size)
        except PosError as error:
            if unreadable == "error":
                raise PosError(f"{error} Set unreadable=skip to leave such videos out.") from error
            logger.warning("Left out: %s", error)
            continue
        yield entry, video, original


def describe_fitting(originals: Sequence[Original], frames: int, size: tuple[int, int] | None) -> list[str]:
    """What was done to videos of other lengths or sizes than those scored, one sentence each."""
    sentences, total = [], f"{len(originals):,} videos hold"
    short = sum(video.frames < frames for video in originals)
    long = sum(video.frames > frames for video in originals)
    if short:
        sentences.append(f"{short:,} of {total} fewer than {frames} frames, and repeat some.")
    if long:
        sentences.append(f"{long:,} of {total} more than {frames} frames, over which those read are spread.")
    sizes = sorted({(video.width, video.height) for video in originals})
    shown = ", ".join(f"{width}x{height}" for width, height in sizes[:3])
    shown += ", ..." if len(sizes) > 3 else ""
    if size is not None and sizes != [size[::-1]]:
        sentences.append(f"Videos of {shown} pixels were scaled and cropped to {size[1]}x{size[0]}.")
    elif len(sizes) > 1:
        sentences.append(f"The videos differ in size, {shown} pixels: each was scored at its own.")
    return sentences
