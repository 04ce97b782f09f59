"""A report as one self-contained HTML page: tables, curves, and the videos of every row, playing in step."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pos.errors import PosError
from pos.reporting.page import environment
from pos.reporting.tables import Table
from pos.storage import write_atomic

EXACT = 128
LARGEST = 256
_WEBP_WIDTH = 16383

Video = Any
"""uint8 (f, 3, h, w), RGB: a tensor or an array."""


@dataclass(frozen=True)
class Curve:
    """A drawing of the report as SVG (``charts.curves.curve``), with its caption."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Panel:
    """One prompt of the report with its videos.

    Attributes:
        prompt: the original.
        videos: by row label, in the order shown; all of one number of frames.
        rewritten: the rewritten prompt, where a row rewrites it.
        neighbour: caption of the retrieved clip, where a row retrieves one.
        similarity: cosine of the prompt and that caption.
        neighbour_video: the retrieved clip, if it is to be shown.
    """

    prompt: str
    videos: dict[str, Video]
    rewritten: str | None = None
    neighbour: str | None = None
    similarity: float | None = None
    neighbour_video: Video | None = None

    @classmethod
    def of(
        cls,
        provenance: dict[str, dict[str, Any]],
        videos: dict[str, Video],
        labels: dict[str, str],
        neighbour_video: Video | None = None,
    ) -> Panel:
        """A panel from the provenance beside the videos.

        Args:
            provenance: by row key, with ``prompt``, ``rewritten_prompt`` and ``neighbours``.
            videos: by row key.
            labels: row key to label.
            neighbour_video: the clip of the first neighbour.
        """
        records = list(provenance.values())
        found = next((record["neighbours"][0] for record in records if record["neighbours"]), None)
        return cls(
            prompt=records[0]["prompt"],
            videos={labels[key]: video for key, video in videos.items()},
            rewritten=next((r["rewritten_prompt"] for r in records if r["rewritten_prompt"]), None),
            neighbour=found["caption"] if found else None,
            similarity=found["score"] if found else None,
            neighbour_video=neighbour_video,
        )


def write_report(
    path: Path,
    *,
    title: str,
    summary: str,
    tables: Sequence[Table],
    curves: Sequence[Curve] = (),
    pictures: Mapping[str, bytes] | None = None,
    panels: Sequence[Panel] = (),
    notes: Sequence[str] = (),
    setting: dict[str, Any] | None = None,
    fps: float = 8,
) -> None:
    """Write the page.

    Args:
        path: the .html file.
        title: of the page.
        summary: one paragraph below the title.
        tables: the first is the main one.
        curves: figures below the tables.
        pictures: PNG files below them, by title.
        panels: prompts with their videos.
        notes: what a reader must know to trust the numbers, one sentence each.
        setting: the settings that all rows share, by name.
        fps: frames a second of the playing videos.

    Raises:
        PosError: the videos differ in their number of frames, which could not play in step.
    """
    frames = _frames(panels)
    page = (
        environment()
        .get_template("report.html.jinja")
        .render(
            title=title,
            summary=summary,
            tables=tables,
            strip=film_strip,
            embed=_png,
            curves=curves,
            pictures=pictures or {},
            panels=panels,
            notes=notes,
            setting=setting or {},
            columns=max(
                (len(panel.videos) + (panel.neighbour_video is not None) for panel in panels), default=1
            ),
            frames=frames,
            seconds=frames / fps,
        )
    )
    write_atomic(Path(path), page)


def film_strip(video: Video) -> str:
    """The frames side by side as a WebP in a data URL; a style sheet shows one frame at a time.

    Without loss up to ``EXACT`` pixels a side. Larger ones would make a page of hundreds of megabytes and are
    shrunk to ``LARGEST`` pixels, or fewer where the strip would be wider than a WebP can be.
    """
    frames = np.asarray(video).transpose(0, 2, 3, 1)
    fitting = _WEBP_WIDTH // len(frames)
    exact = max(frames.shape[1:3]) <= min(EXACT, fitting)
    if not exact:
        frames = _shrunk(frames, min(LARGEST, fitting))
    strip = frames.transpose(1, 0, 2, 3).reshape(frames.shape[1], -1, 3)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(strip)).save(stream, "WEBP", lossless=exact, quality=85, method=4)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _shrunk(frames: np.ndarray, largest: int) -> np.ndarray:
    """Frames (f, h, w, 3) with no side above ``largest``."""
    height, width = frames.shape[1:3]
    scale = min(1, largest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.LANCZOS)) for frame in frames])


def _png(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def _frames(panels: Sequence[Panel]) -> int:
    shown = [video for panel in panels for video in panel.videos.values()]
    shown += [panel.neighbour_video for panel in panels if panel.neighbour_video is not None]
    counts = {len(video) for video in shown} or {1}
    if len(counts) > 1:
        raise PosError(f"Videos of {sorted(counts)} frames cannot play in step: give all the same number.")
    return counts.pop()
