"""Writing our videos: without loss for metrics, a GIF to look at."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor

from pos.data.video.decoding import TENSOR_NAME, check_video
from pos.errors import PosError
from pos.storage import write_atomic

PREVIEW_SIDE = 256  # pixels: smaller previews are enlarged


def write_lossless(path: Path | str, video: Tensor) -> None:
    """Write uint8 (f, 3, h, w) bit by bit as a .safetensors, the form that ``read_video`` and metrics read.

    Raises:
        PosError: it is not a video, or the folder cannot be written.
    """
    from safetensors.torch import save_file

    check_video(video, "The tensor to write")
    tensors = {TENSOR_NAME: video.detach().cpu().contiguous()}
    write_atomic(Path(path), lambda temporary: save_file(tensors, temporary))


def write_preview(path: Path | str, video: Tensor, fps: float = 8.0, scale: int | None = None) -> None:
    """Write uint8 (f, 3, h, w) as a looping GIF with one palette for all its frames.

    Args:
        path: the .gif.
        video: the frames.
        fps: frames a second; a GIF counts in hundredths of a second and browsers show at most 50.
        scale: how often each pixel is repeated; None enlarges small videos to at most 256 pixels.

    Raises:
        PosError: it is not a video, fps or scale is not positive, or the folder cannot be written.
    """
    check_video(video, "The tensor to write")
    height, width = video.shape[-2:]
    scale = max(1, PREVIEW_SIDE // max(height, width)) if scale is None else scale
    if not fps > 0 or scale < 1:
        raise PosError(f"fps={fps}, scale={scale}: a preview needs fps above 0 and a scale of at least 1.")
    enlarged = (width * scale, height * scale)
    first, *rest = [image.resize(enlarged, Image.Resampling.NEAREST) for image in _palette_images(video)]
    duration = max(20, 10 * round(100 / fps))  # milliseconds
    write_atomic(
        Path(path),
        lambda temporary: first.save(temporary, save_all=True, append_images=rest, duration=duration, loop=0),
    )


def _palette_images(video: Tensor) -> list[Image.Image]:
    """One palette for all frames and no dither, so that what stands still does not flicker."""
    frames = video.detach().cpu().permute(0, 2, 3, 1)
    palette = Image.fromarray(frames.flatten(0, 1).numpy()).quantize(256)
    none = Image.Dither.NONE
    return [Image.fromarray(frame.numpy()).quantize(palette=palette, dither=none) for frame in frames]
