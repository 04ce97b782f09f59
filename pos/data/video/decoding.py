"""Where ``read_video`` gets its frames: containers, animations, images, folders of frames, our own files.

Each source decodes one frame at a time and converts a frame to pixels only on request.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pos.errors import PosError, require

ANIMATED_IMAGES = (".gif", ".webp")
STILL_IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
TENSOR_NAME = "video"  # in the .safetensors of write_lossless

Frame = Callable[[], Tensor]  # converts one decoded frame to RGB, uint8 (3, h, w)


@dataclass(frozen=True)
class Source:
    """A video that can be decoded again and again.

    Attributes:
        count: how many frames the file announces; decoding may find another number.
        frames: starts decoding at the first frame.
    """

    count: int
    frames: Callable[[], Iterator[Frame]]


def open_source(path: Path) -> Source:
    """Find out what a path holds and how many frames.

    Raises:
        PosError: it is missing, empty, corrupt, truncated or without a video stream.
    """
    if not path.exists():
        raise PosError(f"The video {path} does not exist.")
    with faults_of(path):
        if path.is_dir():
            return _frame_folder(path)
        if path.stat().st_size == 0:
            raise PosError(f"The video {path} is an empty file.")
        suffix = path.suffix.lower()
        if suffix == ".safetensors":
            return _lossless(path)
        if suffix in ANIMATED_IMAGES:
            return _animation(path)
        if suffix in STILL_IMAGES:
            return Source(1, partial(_stills, [path]))
        return _container(path)


@contextlib.contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Turn whatever a decoder throws at damaged data into one sentence that names the file."""
    try:
        yield
    except (OSError, EOFError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> PosError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return PosError(f"Cannot read the video {path}: it is corrupt or not a video ({reason}).")


def check_video(video: Tensor, name: str) -> None:
    """Raise PosError unless a tensor is a video, uint8 (f, 3, h, w) with at least one frame and pixel."""
    if video.dtype != torch.uint8 or video.ndim != 4 or video.shape[1] != 3 or 0 in video.shape:
        held = f"{str(video.dtype).removeprefix('torch.')} {tuple(video.shape)}"
        raise PosError(f"{name} holds {held}: a video is uint8 (frames, 3, height, width).")


def _lossless(path: Path) -> Source:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise PosError(f"Cannot read the video {path}: it is corrupt or truncated ({error}).") from error
    if TENSOR_NAME not in tensors:
        raise PosError(f"The file {path} holds no tensor '{TENSOR_NAME}', only {sorted(tensors)}.")
    video = tensors[TENSOR_NAME]
    check_video(video, f"The file {path}")
    return Source(len(video), lambda: (partial(video.__getitem__, index) for index in range(len(video))))


def _frame_folder(path: Path) -> Source:
    def natural(file: Path) -> list[Any]:  # frame2 before frame10
        return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)]

    files = sorted((file for file in path.iterdir() if file.suffix.lower() in STILL_IMAGES), key=natural)
    if not files:
        raise PosError(f"The folder {path} holds no image frames ({', '.join(STILL_IMAGES)}).")

    return Source(len(files), partial(_stills, files))


def _stills(files: Sequence[Path]) -> Iterator[Frame]:
    """By PIL, as the evaluation codes read images: other decoders of JPEG differ by some levels."""
    for file in files:
        with faults_of(file), Image.open(file) as image:
            image.load()
            yield partial(_pixels, image)


def _animation(path: Path) -> Source:
    def frames() -> Iterator[Frame]:
        with Image.open(path) as image:
            for index in range(image.n_frames):
                image.seek(index)
                image.load()
                yield partial(_pixels, image)

    with Image.open(path) as image:
        return Source(image.n_frames, frames)


def _pixels(image: Image.Image) -> Tensor:
    flat = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
    return flat.reshape(image.height, image.width, 3).permute(2, 0, 1).contiguous()


def _container(path: Path) -> Source:
    av = require("av", extra="video")
    with _faults_of_container(av, path):
        return Source(_survey(av, path), lambda: _decode(av, path))


@contextlib.contextmanager
def _faults_of_container(av: Any, path: Path) -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:  # some are no OSError or ValueError
        raise PosError(
            f"Cannot read the video {path}: it is corrupt or not a video ({error.strerror})."
        ) from error


def _survey(av: Any, path: Path) -> int:
    """Count the frames of a container without decoding, and notice a file that was cut."""
    count, end = 0, 0.0
    with av.open(str(path)) as container:
        if not container.streams.video:
            held = " and ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise PosError(f"The file {path} has no video stream: it holds {held}.")
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise PosError(f"The video {path} is truncated or corrupt after {count} frames.")
            if packet.size:
                count += 1
                end = max(end, float(((packet.pts or 0) + (packet.duration or 0)) * stream.time_base))
        announced = _announced_end(av, container, stream)
    # Containers round their durations by a frame or two; a file that was cut misses far more.
    if announced is not None and count and end < 0.9 * announced:
        raise PosError(f"The video {path} is truncated: {end:.2f} of {announced:.2f} seconds are there.")
    return count


def _announced_end(av: Any, container: Any, stream: Any) -> float | None:
    """The end of the video in seconds, or None where the container does not state it."""
    if stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    if container.duration and len(container.streams) == 1:  # beside other streams it may be theirs
        return container.duration / av.time_base
    return None


def _decode(av: Any, path: Path) -> Iterator[Frame]:
    with _faults_of_container(av, path), av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            yield partial(_upright, frame)


def _upright(frame: Any) -> Tensor:
    """RGB pixels of a decoded frame, rotated as the file states (phones record sideways)."""
    pixels = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
    return torch.rot90(pixels, round(frame.rotation / 90), dims=(1, 2)).contiguous()
