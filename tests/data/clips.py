"""Writes small clips of known frames with PyAV."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

RAMP = 5
"""Frame i of a ramp is grey with value 10 + 5 i."""


def ramp(count: int, width: int = 48, height: int = 32) -> list[np.ndarray]:
    """Frames (height, width, 3) that tell their number by their grey value."""
    return [np.full((height, width, 3), 10 + RAMP * index, np.uint8) for index in range(count)]


def numbers(video) -> list[int]:
    """The numbers of the frames of a ramp that was read back, through any lossy codec."""
    means = video.float().mean(dim=(1, 2, 3))
    return [round((mean.item() - 10) / RAMP) for mean in means]


def write(
    path: Path, frames: list[np.ndarray], codec: str = "libx264", fps: int = 24, **options: str
) -> Path:
    """Write frames as a video without sound; ``options`` go to the container."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames[0].shape[:2] if frames else (32, 48)
        stream.bit_rate = 4_000_000
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"  # ffv1 keeps every bit
        container.start_encoding()
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """Half a second of silence and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for start in range(0, 8192, 1024):
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts = 16000, start
            container.mux(stream.encode(silence))
        container.mux(stream.encode())
    return path
