"""Videos to features, in one pass that holds one batch of videos at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from pos.errors import PosError
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.features import FeatureSet, TensorWriter
from pos.evaluation.frames import GENERATED, Frames
from pos.evaluation.reference import DETECTORS
from pos.storage import TensorCache, content_hash


@dataclass(frozen=True)
class CaptionedVideo:
    """A video to be scored.

    Attributes:
        id: names the prompt; equal ids are several seeds of one prompt.
        prompt: the original one, never the rewritten one.
        video: uint8 (f, 3, h, w).
    """

    id: str
    prompt: str
    video: Tensor


def extract(
    videos: Tensor | Iterable[Tensor],
    ids: Sequence[str],
    prompts: Sequence[str],
    detectors: Detectors,
    *,
    frames: Frames = GENERATED,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    cache: TensorCache | None = None,
    label: str = "Scoring videos",
) -> FeatureSet:
    """All features of a set of videos, in memory (``extract_to`` writes them to a file).

    Args:
        videos: uint8 (f, c, h, w) each, in the order of ``ids``; a tensor (n, f, c, h, w) will do.
        ids: the prompt's id of each video.
        prompts: the original prompt of each video.
        detectors, frames, device, batch_size, cache, label: as ``extract_to``.

    Raises:
        PosError: videos, ids and prompts differ in number; as ``extract_to``.
    """
    batches = _batches(
        _paired(videos, ids, prompts), len(ids), detectors, frames, device, batch_size, cache, label
    )
    parts = [rows for _, rows in batches]
    tensors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return FeatureSet(list(ids), tensors, detectors.fingerprints)


def extract_to(
    path: Path,
    samples: Iterable[CaptionedVideo],
    total: int,
    detectors: Detectors,
    *,
    frames: Frames = GENERATED,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    cache: TensorCache | None = None,
    label: str = "Scoring videos",
) -> FeatureSet:
    """All features of a stream of videos, written to ``path`` batch by batch: memory does not grow with them.

    Args:
        path: the file that ``FeatureSet.load`` reads.
        samples: the videos.
        total: how many there are at most, for the progress bar.
        detectors: moved to ``device``.
        frames: which ones the metrics read.
        batch_size: videos a batch.
        cache: features of batches by content (videos, prompts, frames, weights): a killed run resumes. None
            keeps nothing.
        label: text of the progress bar.

    Raises:
        PosError: no video, one of a size that the detectors do not take, features that are not finite, or the
            file cannot be written.
    """
    ids: list[str] = []
    with TensorWriter(path) as writer:
        for batch, rows in _batches(samples, total, detectors, frames, device, batch_size, cache, label):
            ids += [sample.id for sample in batch]
            writer.add(rows)
        if not ids:
            raise PosError("There is no video to score.")
        writer.finish({"ids": ids, "detectors": detectors.fingerprints})
    return FeatureSet.load(path)


def gather(
    videos: Iterable[Tensor],
    total: int | None,
    detectors: Detectors,
    *,
    frames: Frames = GENERATED,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    label: str = "Real videos",
) -> Iterator[dict[str, Tensor]]:
    """The features of real videos by detector (``Detectors.compared``), batch by batch.

    Args:
        videos: uint8 (f, 3, h, w) each.
        total: how many there are, for the progress bar; None where that is not known.
        detectors, frames, device, batch_size, label: as ``extract_to``.

    Yields:
        The rows of a batch.

    Raises:
        PosError: as ``extract_to``, or there is no detector whose features are compared.
    """
    if not detectors.fingerprints.keys() & set(DETECTORS):
        raise PosError("There is no detector of FID, CLIP-FID or FVD: real videos give nothing to compare.")
    detectors = detectors.to(device)
    with tqdm(total=total, desc=label, unit="video") as progress:
        for batch in _split(videos, batch_size):
            yield detectors.compared(batch, frames)
            progress.update(len(batch))


def _batches(
    samples: Iterable[CaptionedVideo],
    total: int,
    detectors: Detectors,
    frames: Frames,
    device: torch.device | str,
    batch_size: int,
    cache: TensorCache | None,
    label: str,
) -> Iterator[tuple[list[CaptionedVideo], dict[str, Tensor]]]:
    detectors = detectors.to(device)
    with tqdm(total=total, desc=label, unit="video") as progress:
        for batch in _split(samples, batch_size):
            rows = _features(batch, detectors, frames, cache)
            _check_finite(rows, batch)
            yield batch, rows
            progress.update(len(batch))


def _features(
    batch: Sequence[CaptionedVideo], detectors: Detectors, frames: Frames, cache: TensorCache | None
) -> dict[str, Tensor]:
    videos, prompts = [sample.video for sample in batch], [sample.prompt for sample in batch]
    if cache is None:
        return detectors(videos, prompts, frames)
    choice = [frames.images, frames.clip, frames.step]
    extra = [detectors.extra] if detectors.extra else []
    key = content_hash(*videos, prompts, choice, detectors.fingerprints, *extra)
    known = cache.get(key)
    if known is None:
        known = detectors(videos, prompts, frames)
        cache.put(key, known)
    return known


def _split(items: Iterable, batch_size: int) -> Iterator[list]:
    if batch_size < 1:
        raise PosError(f"batch_size must be at least 1, not {batch_size}.")
    stream = iter(items)
    while batch := list(itertools.islice(stream, batch_size)):
        yield batch


def _paired(videos: Iterable[Tensor], ids: Sequence[str], prompts: Sequence[str]) -> Iterator[CaptionedVideo]:
    if not ids or len(ids) != len(prompts):
        raise PosError(f"There are {len(ids)} ids for {len(prompts)} prompts: give one of each a video.")
    count = 0
    for count, video in enumerate(videos, start=1):
        if count > len(ids):
            raise PosError(f"There are more videos than the {len(ids)} prompts: give one prompt a video.")
        yield CaptionedVideo(ids[count - 1], prompts[count - 1], video)
    if count < len(ids):
        raise PosError(f"There are only {count} videos for {len(ids)} prompts: give one prompt a video.")


def _check_finite(rows: dict[str, Tensor], batch: Sequence[CaptionedVideo]) -> None:
    for name, tensor in rows.items():
        finite = tensor.isfinite().reshape(len(batch), -1).all(1)
        if not finite.all():
            first = batch[int(finite.int().argmin())].id
            raise PosError(
                f"The features '{name}' of the video with id {first} are not finite: the weights of that "
                "detector are damaged, or not its own."
            )
