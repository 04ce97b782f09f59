"""The benchmarks of the paper, from their official annotation files: UCF101, MSR-VTT, COCO.

Each is a ``Manifest``; what the paper leaves open is an argument, and stands among its choices.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

from pos.data.benchmarks.manifest import Item, Manifest
from pos.data.benchmarks.protocol import Protocol
from pos.data.prompts import read_prompts
from pos.errors import PosError
from pos.storage import asset, content_hash, file_digest, read_text

log = logging.getLogger(__name__)

UCF101_TEST = 3783  # lines of testlist01.txt
MSRVTT_TEST = range(7010, 10000)  # numbers of the 2,990 test videos, in the files of 2016 and of 2017
ORIGIN = {
    "UCF101": "benchmark.folder=DIR takes the official lists, in "
    "https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip",
    "MSR-VTT": "benchmark.annotations=FILE takes the test_videodatainfo.json of the MSR-VTT challenge, or "
    "its older videodatainfo_2017.json",
    "COCO": "benchmark.annotations=FILE takes COCO's captions_val2014.json, in "
    "http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
}
"""Where the official files are, and the key that takes them."""


def ucf101(
    folder: Path, *, prompts: Path | None = None, size: int | None = None, seed: int = 0, protocol: Protocol
) -> Manifest:
    """UCF101, split 1: the sentence of its class for every test clip, 3,783 in all.

    Args:
        folder: of the official lists: ``testlist01.txt``, one ``Class/v_Class_g01_c01.avi`` a line, and
            ``classInd.txt``, one ``1 Class`` a line.
        prompts: .csv with ``id`` (the class) and ``prompt``; None takes ours, a sentence for each class.
        size: how many clips, drawn; None takes all.
        seed: of that draw.
        protocol: the other choices.

    Raises:
        PosError: a file is absent or of another form, a class has no sentence, a clip no class, or there are
            fewer clips than ``size``.
    """
    videos, classes = Path(folder) / "testlist01.txt", Path(folder) / "classInd.txt"
    path = asset("ucf101/prompts.csv") if prompts is None else Path(prompts)
    sentences = _sentences(path, [line.split()[1] for line in _lines(classes, "1 ApplyEyeMakeup", words=2)])
    items = []
    for line in _lines(videos, "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"):
        name, _, file = line.partition("/")
        if name not in sentences or not file:
            raise PosError(f"{videos} names {line}, and {name} is no class of {classes}.")
        items.append(Item(Path(file).stem, sentences[name], f"{name}/{file}"))
    _count("clips", len(items), UCF101_TEST, videos)
    choices = {"prompt": "the sentence of the class", **_choice(size, seed), **protocol.record()}
    return Manifest("ucf101", _subset(items, size, seed, videos), choices, _digests(videos, classes, path))


def msrvtt(annotations: Path, *, size: int | None = None, seed: int = 0, protocol: Protocol) -> Manifest:
    """The 2,990 test videos of MSR-VTT, video7010 to video9999, one of the ~20 captions for each.

    Args:
        annotations: ``test_videodatainfo.json``, or the older ``videodatainfo_2017.json`` of which the test
            videos are taken.
        size: how many videos, drawn; None takes all.
        seed: of the videos and of the captions; a caption depends on the seed, its video and that one's
            captions alone.
        protocol: the other choices.

    Raises:
        PosError: the file is absent or of another form, it names fewer test videos than ``size`` or none, or
            one has no caption.
    """
    videos, sentences = _records(annotations, "videos", "sentences", "MSR-VTT", "test_videodatainfo.json")
    try:
        names = [video["video_id"] for video in videos]
        captions = _gathered((row["video_id"], row["sen_id"], row["caption"]) for row in sentences)
        tested = sorted((int(name.removeprefix("video")), name) for name in names)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(annotations, error) from error
    names = [name for number, name in tested if number in MSRVTT_TEST]
    _count("test videos", len(names), len(MSRVTT_TEST), annotations)
    items = [_drawn(name, f"{name}.mp4", captions, seed, annotations) for name in names]
    choices = {"caption": "one drawn for each video", **_choice(size, seed), **protocol.record()}
    return Manifest("msrvtt", _subset(items, size, seed, annotations), choices, _digests(annotations))


def coco(annotations: Path, *, size: int | None = None, seed: int = 0, protocol: Protocol) -> Manifest:
    """COCO captions, one for each image.

    Args:
        annotations: ``captions_val2014.json`` or another file of the same form.
        size: how many images, drawn; None takes all.
        seed: of the images and of the captions.
        protocol: the other choices.

    Raises:
        PosError: the file is absent or of another form, has fewer images than ``size``, or one of them has no
            caption.
    """
    images, annotated = _records(annotations, "images", "annotations", "COCO", "captions_val2014.json")
    try:
        files = {image["id"]: image["file_name"] for image in images}
        captions = _gathered((row["image_id"], row["id"], row["caption"]) for row in annotated)
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(annotations, error) from error
    items = [_drawn(image, files[image], captions, seed, annotations) for image in sorted(files)]
    choices = {"caption": "one drawn for each image", **_choice(size, seed), **protocol.record()}
    return Manifest("coco", _subset(items, size, seed, annotations), choices, _digests(annotations))


def _choice(size: int | None, seed: int) -> dict[str, Any]:
    return {"videos": "all" if size is None else f"{size} drawn", "seed": seed}


def _subset(items: list[Item], size: int | None, seed: int, path: Path) -> list[Item]:
    """So many items in their order, drawn by a hash: a smaller subset is part of a larger one."""
    if size is None:
        return items
    if not 1 <= size <= len(items):
        raise PosError(f"size={size}: {path} gives {len(items):,} prompts, take 1 to as many.")
    drawn = set(
        sorted((item.id for item in items), key=lambda name: content_hash("video", seed, name))[:size]
    )
    return [item for item in items if item.id in drawn]


def _drawn(name: Any, file: str, captions: dict[Any, dict[str, str]], seed: int, path: Path) -> Item:
    """An image or video with one of its captions, drawn by a hash: no other item has a part in it."""
    known = captions.get(name)
    if not known:
        raise PosError(f"{path} has no caption for {name}.")
    chosen = min(known, key=lambda caption: content_hash("caption", seed, str(name), caption))
    return Item(str(name), known[chosen], file, chosen)


def _gathered(rows: Any) -> dict[Any, dict[str, str]]:
    """Captions by what they describe, and by their own id; blank ones are skipped."""
    found: dict[Any, dict[str, str]] = defaultdict(dict)
    for name, caption_id, text in rows:
        if text.strip():
            found[name][str(caption_id)] = " ".join(text.split())
    return found


def _sentences(path: Path, classes: list[str]) -> dict[str, str]:
    known = {prompt.id: prompt.text for prompt in read_prompts(path)}
    missing = [name for name in classes if name not in known]
    if missing:
        raise PosError(
            f"{path} has no sentence for {len(missing)} of the {len(classes)} classes, such as {missing[0]}: "
            "it needs the columns id,prompt with the class as id."
        )
    return {name: known[name] for name in classes}


def _lines(path: Path, example: str, words: int = 1) -> list[str]:
    lines = [line.strip() for line in _text(path, "UCF101").splitlines() if line.strip()]
    odd = next((line for line in lines if len(line.split()) != words), None)
    if not lines or odd is not None:
        held = "nothing" if odd is None else f"'{odd[:60]}'"
        raise PosError(f"{path} holds {held}: its lines must be like '{example}'.")
    return lines


def _text(path: Path, benchmark: str) -> str:
    if not Path(path).is_file():
        raise PosError(f"There is no file {path}: {ORIGIN[benchmark]}.")
    return read_text(Path(path), "annotations")


def _records(path: Path, first: str, second: str, benchmark: str, file: str) -> tuple[list[Any], list[Any]]:
    try:
        content = json.loads(_text(path, benchmark))
    except ValueError as error:
        raise PosError(f"{path} is not JSON: {error}.") from error
    found = [content.get(name) for name in (first, second)] if isinstance(content, dict) else []
    if not found or not all(isinstance(rows, list) for rows in found):
        raise PosError(
            f"{path} lacks '{first}' or '{second}': give {benchmark}'s {file} or a file of its form."
        )
    return found[0], found[1]


def _damaged(path: Path, error: Exception) -> PosError:
    return PosError(f"{path} is not of its published form: {type(error).__name__} {error}.")


def _count(what: str, found: int, official: int, path: Path) -> None:
    if found != official:
        log.warning("%s names %s %s, and the official file %s.", path, f"{found:,}", what, f"{official:,}")


def _digests(*paths: Path) -> dict[str, str]:
    return {Path(path).name: file_digest(Path(path)) for path in paths}
