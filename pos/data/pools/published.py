"""Published caption sets as pools, from their own annotation files: Flickr30k for images, WebVid for videos.

They are too large to decode before the first prompt is answered: what is missing is left out at the start,
and a clip is decoded when it is retrieved.
"""

from __future__ import annotations

import heapq
import json
import logging
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from pos.data.pools.pool import Pool
from pos.data.video.decoding import STILL_IMAGES
from pos.data.video.reading import read_video
from pos.errors import PosError
from pos.storage import content_hash, read_csv, read_text

log = logging.getLogger(__name__)

FLICKR30K = ("results_20130124.token", "dataset_flickr30k.json")
FLICKR30K_SPLITS = ("train", "val", "test")
WEBVID_COLUMNS = ("videoid", "page_dir", "name")


class _Pair(NamedTuple):
    id: str
    caption: str
    path: Path | None  # None where the file is missing


class PublishedPool(Pool):
    """Pairs of a published set, in the order in which a seed draws them: a smaller pool begins a larger one.

    Args:
        name: of the set.
        folder: for messages.
        drawn: the pairs; those without a file are left out and counted in one warning.

    Raises:
        PosError: no pair has a file.
    """

    def __init__(self, name: str, folder: Path, drawn: Iterable[_Pair]) -> None:
        pairs = list(drawn)
        found = [pair for pair in pairs if pair.path is not None]
        if not found:
            raise PosError(
                f"The folder {folder} holds none of the {len(pairs):,} clips that {name} names: are they "
                "unpacked there?"
            )
        if len(found) < len(pairs):
            log.warning("The pool %s has %s of %s pairs: the files of the others are not in %s.", name,
                        f"{len(found):,}", f"{len(pairs):,}", folder)  # fmt: skip
        self.ids = [pair.id for pair in found]
        self.captions = [pair.caption for pair in found]
        self._paths = [pair.path for pair in found]
        sizes = [path.stat().st_size for path in self._paths]
        self.fingerprint = content_hash(name, self.ids, self.captions, sizes)

    def video(self, index: int, frames: int, height: int, width: int) -> Tensor:
        try:
            return read_video(self._paths[index], frames, (height, width))
        except PosError as error:
            raise PosError(f"{error} Take the file away to leave it out of the pool.") from error


def flickr30k(path: Path | str, size: int | None = None, seed: int = 0, split: str | None = "test") -> Pool:
    """Flickr30k: 31,783 images with five captions each, every one a pair; an image is a video of one frame.

    Args:
        path: a folder with ``results_20130124.token`` of the authors' archive, or else Karpathy's
            ``dataset_flickr30k.json``, and the images anywhere in it.
        size: how many pairs, drawn; None takes all.
        seed: of the draw.
        split: ``train``, ``val`` or ``test``, which Karpathy's file alone has: the 1,000 test images are the
            paper's pool. None takes all images.

    Raises:
        PosError: no file has what is requested, it is not of its form, there are fewer pairs than ``size``,
            or no image.
    """
    folder = Path(path)
    annotations = _flickr30k_annotations(folder, split)
    read = _token_lines if annotations.suffix == ".token" else partial(_karpathy, split=split)
    images = _images(folder)
    pairs = (_Pair(name, caption, images.get(file)) for name, file, caption in read(annotations))
    return PublishedPool("flickr30k", folder, _drawn(pairs, size, seed, annotations))


def _flickr30k_annotations(folder: Path, split: str | None) -> Path:
    """The file with the captions; of a split Karpathy's."""
    if split is None:
        found = next((folder / name for name in FLICKR30K if (folder / name).is_file()), None)
        if found is None:
            raise PosError(
                f"{folder} holds neither {FLICKR30K[0]} nor {FLICKR30K[1]}: one of them has the captions."
            )
        return found
    if split not in FLICKR30K_SPLITS:
        raise PosError(
            f"pool.split={split} is unknown: choose {', '.join(FLICKR30K_SPLITS)} or null for all."
        )
    found = folder / FLICKR30K[1]
    if not found.is_file():
        raise PosError(
            f"{found} is missing: it alone says which images are of the {split} split. Get it from "
            "cs.stanford.edu/people/karpathy/deepimagesent, or take all images with pool.split=null."
        )
    return found


def webvid(
    path: Path | str, annotations: Path | str | None = None, size: int | None = 100_000, seed: int = 0
) -> Pool:
    """WebVid: one caption a video; the paper's pool is 100k of them.

    Args:
        path: a folder of ``videos/<page_dir>/<videoid>.mp4`` as the authors' script downloads them, with or
            without ``videos``.
        annotations: .csv with the columns ``videoid``, ``page_dir`` and ``name`` (the caption); None takes
            the only .csv of the folder.
        size: how many pairs, drawn from the .csv, whatever was downloaded; None takes all.
        seed: of the draw.

    Raises:
        PosError: the file is absent or of another form, there are fewer pairs than ``size``, or no video.
    """
    folder = Path(path)
    table = _only_csv(folder) if annotations is None else Path(annotations)
    root = folder / "videos" if (folder / "videos").is_dir() else folder

    def located(pairs: Iterable[_Pair]) -> Iterator[_Pair]:
        return (pair if pair.path.is_file() else pair._replace(path=None) for pair in pairs)

    return PublishedPool("webvid", root, located(_drawn(_webvid_rows(table, root), size, seed, table)))


def _drawn(pairs: Iterable[_Pair], size: int | None, seed: int, annotations: Path) -> list[_Pair]:
    """So many pairs, by a hash of their ids: which of two is drawn first depends on these two alone."""
    ranked = ((content_hash("pair", seed, pair.id), pair) for pair in pairs)
    drawn = sorted(ranked) if size is None else heapq.nsmallest(size, ranked)
    if size is not None and not 1 <= size == len(drawn):
        raise PosError(f"size={size}: {annotations} gives {len(drawn):,} pairs, take 1 to as many.")
    return [pair for _, pair in drawn]


def _images(folder: Path) -> dict[str, Path]:
    """The images of a folder and its subfolders by name."""
    return {
        file: Path(root, file)
        for root, _, files in os.walk(folder, followlinks=True)
        for file in files
        if file.lower().endswith(STILL_IMAGES)
    }


def _token_lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """``1000092795.jpg#0<tab>Two young guys ...`` a line."""
    for line in read_text(path, "annotations").splitlines():
        name, tab, caption = line.partition("\t")
        file, mark, _ = name.partition("#")
        if not tab or not mark:
            raise PosError(
                f"{path} holds the line '{line[:60]}': it must be like '1000092795.jpg#0<tab>caption'."
            )
        yield name, file, " ".join(caption.split())


def _karpathy(path: Path, split: str | None = None) -> Iterator[tuple[str, str, str]]:
    try:
        for image in json.loads(read_text(path, "annotations"))["images"]:
            if split is not None and image["split"] != split:
                continue
            for number, sentence in enumerate(image["sentences"]):
                yield f"{image['filename']}#{number}", image["filename"], " ".join(sentence["raw"].split())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PosError(f"{path} is not of its published form: {type(error).__name__} {error}.") from error


def _only_csv(folder: Path) -> Path:
    found = sorted(folder.glob("*.csv"))
    if len(found) != 1:
        held = ", ".join(path.name for path in found) or "none"
        raise PosError(
            f"{folder} must hold one .csv of WebVid, or pool.annotations must name one: it has {held}."
        )
    return found[0]


def _webvid_rows(path: Path, root: Path) -> Iterator[_Pair]:
    for _, row in read_csv(path, "WebVid table", WEBVID_COLUMNS):
        caption = " ".join((row["name"] or "").split())
        if caption and row["videoid"]:
            yield _Pair(row["videoid"], caption, root / (row["page_dir"] or "") / f"{row['videoid']}.mp4")
