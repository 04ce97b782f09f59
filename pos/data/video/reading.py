"""Reading any video as uint8 frames.

A video is decoded frame by frame and only the sampled frames are kept, already resized, so that memory does
not grow with its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pos.data.video.decoding import Frame, faults_of, open_source
from pos.errors import PosError


class Original(NamedTuple):
    """Of a video: how many frames it holds, and their size in pixels."""

    frames: int
    height: int
    width: int


def read_video(
    path: Path | str, frames: int = 16, size: tuple[int, int] | None = None, stride: int | None = None
) -> Tensor:
    """Read a video of any length, size and frame rate.

    Args:
        path: a video file (mp4, webm, mkv, avi, ...), an animated gif or webp, an image (a video of one
            frame), a folder of image frames (in the natural order of their names), or a .safetensors of
            ``write_lossless``.
        frames: how many frames to take, by the rule of ``frame_indices``.
        size: (height, width) to bring the frames to, by the rule of ``fit``; None keeps theirs.
        stride: take every stride-th frame instead of spreading the frames over the whole clip.

    Returns:
        uint8 (frames, 3, height, width), RGB.

    Raises:
        PosError: the video is missing, empty, corrupt, truncated, without a video stream or without frames.
    """
    return read_counted(path, frames, size, stride)[0]


def read_counted(
    path: Path | str, frames: int = 16, size: tuple[int, int] | None = None, stride: int | None = None
) -> tuple[Tensor, Original]:
    """As ``read_video``, and what the video was before it was sampled and scaled."""
    if frames < 1 or (stride is not None and stride < 1) or (size is not None and min(size) < 1):
        raise PosError(f"frames={frames}, size={size}, stride={stride}: each must be at least 1.")
    path = Path(path)
    source = open_source(path)
    with faults_of(path):
        taken, held = _take(source.frames(), _sampled(path, source.count, frames, stride), size)
        if held.frames != source.count:  # the container counted wrongly: sample again by the true count
            taken, held = _take(source.frames(), _sampled(path, held.frames, frames, stride), size)
    if len({frame.shape for frame in taken.values()}) > 1:
        raise PosError(f"The frames of {path} differ in size: give a size to bring them to.")
    return torch.stack([taken[index] for index in frame_indices(held.frames, frames, stride)]), held


def count_frames(path: Path | str) -> int:
    """How many frames a video really holds; all of it is decoded, which finds damage.

    Raises:
        PosError: as ``read_video``.
    """
    path = Path(path)
    source = open_source(path)
    with faults_of(path):
        return sum(1 for _ in source.frames())


def _sampled(path: Path, count: int, frames: int, stride: int | None) -> set[int]:
    if count == 0:
        raise PosError(f"The video {path} holds no frames.")
    return set(frame_indices(count, frames, stride))


def _take(
    frames: Iterator[Frame], wanted: set[int], size: tuple[int, int] | None
) -> tuple[dict[int, Tensor], Original]:
    """The frames of these indices, and the video's size and length; decodes to the end to find damage."""
    taken, decoded, height, width = {}, 0, 0, 0
    for index, frame in enumerate(frames):
        if index in wanted:
            pixels = frame()
            height, width = pixels.shape[-2:]
            taken[index] = pixels if size is None else fit(pixels, *size)
        decoded = index + 1
    return taken, Original(decoded, height, width)


def frame_indices(count: int, frames: int, stride: int | None = None) -> list[int]:
    """Which frames of a clip of ``count`` frames are read.

    Without ``stride`` the clip is cut into ``frames`` equal parts and the middle frame of each is taken: a
    clip of exactly ``frames`` is taken whole, a shorter one repeats some of its frames in order. With
    ``stride`` every stride-th frame from the first on is taken; once the clip has ended its last is repeated.
    """
    if stride is None:
        return [(2 * part + 1) * count // (2 * frames) for part in range(frames)]
    return [min(part * stride, count - 1) for part in range(frames)]


def fit(video: Tensor, height: int, width: int) -> Tensor:
    """Scale a uint8 (..., 3, h, w), antialiased, until it just covers (height, width), then crop the centre.

    Nothing is resampled where the scale is 1.
    """
    h, w = video.shape[-2:]
    scale = max(height / h, width / w)
    covering = (max(height, round(h * scale)), max(width, round(w * scale)))
    if covering != (h, w):
        flat = video.reshape(-1, *video.shape[-3:]).float()  # the uint8 kernel of torch fails at some sizes
        flat = functional.interpolate(flat, covering, mode="bicubic", align_corners=False, antialias=True)
        video = flat.round().clamp(0, 255).to(torch.uint8).reshape(*video.shape[:-2], *covering)
    top, left = (covering[0] - height) // 2, (covering[1] - width) // 2
    return video[..., top : top + height, left : left + width].clone()
