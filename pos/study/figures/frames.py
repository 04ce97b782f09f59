"""Figure 5: frames of every row side by side, as a picture."""

from __future__ import annotations

import io

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pos.data.video.reading import frame_indices
from pos.errors import PosError
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.reference import Reference
from pos.study.figures.base import Figure, Finding
from pos.study.study import Study

LEAST = 96  # pixels of a frame's shorter side in the picture
MARGIN, LABEL, LINE, GAP = 8, 96, 22, 4  # pixels: margin, width of labels, line of text, gap between frames


class FrameSheet(Figure):
    """A picture with a block for each prompt, in it a line for each row and a column for each frame.

    Args:
        prompts: how many, the first of the benchmark.
        frames: how many of each video, spread over its length.

    Raises:
        PosError: prompts or frames below 1.
    """

    def __init__(self, prompts: int = 4, frames: int = 6) -> None:
        if min(prompts, frames) < 1:
            raise PosError(f"prompts={prompts}, frames={frames}: show at least one of each.")
        self.prompts, self.frames = prompts, frames

    def measure(
        self,
        study: Study,
        detectors: Detectors,  # noqa: ARG002
        reference: Reference | None,  # noqa: ARG002
        device: torch.device | str,  # noqa: ARG002
    ) -> Finding:
        shown = study.benchmark.prompts[: self.prompts]
        blocks = []
        for prompt, (_, videos, _) in zip(shown, study.samples([p.id for p in shown]), strict=True):
            lines = {study.rows[key].label: video for key, video in videos.items()}
            blocks.append(sheet(prompt.text, lines, self.frames))
        note = f"Frames of {len(shown)} prompts, row by row, each from the same base noise in every row."
        ids = {"prompts": [prompt.id for prompt in shown], "rows": list(study.pipelines)}
        return Finding(ids, [note], pictures={"frames": png(stacked(blocks))})


def sheet(title: str, videos: dict[str, Tensor], frames: int = 6) -> Image.Image:
    """A block with frames of several videos.

    Args:
        title: of the block.
        videos: uint8 (f, 3, h, w) by label, of one size.
        frames: how many of each, spread over its length.
    """
    chosen = {
        label: video[frame_indices(len(video), min(frames, len(video)))] for label, video in videos.items()
    }
    return block(title, chosen)


def false_colour(latents: Tensor) -> Tensor:
    """The first three channels of latents or noise (c, f, h, w) as red, green and blue: uint8 (f, 3, h, w).

    -3 is dark and 3 is light, which covers noise of unit variance.
    """
    channels = latents[:3].transpose(0, 1).float()
    return channels.add(3).mul(255 / 6).round().clamp(0, 255).to(torch.uint8)


def block(title: str, lines: dict[str, Tensor]) -> Image.Image:
    """A picture of frames, uint8 (f, 3, h, w) by label; small frames are enlarged by a whole factor."""
    count, _, height, width = next(iter(lines.values())).shape
    factor = max(1, -(-LEAST // min(height, width)))
    height, width = height * factor, width * factor
    picture = Image.new(
        "RGB",
        (2 * MARGIN + LABEL + count * (width + GAP) - GAP, MARGIN + LINE + len(lines) * (height + MARGIN)),
        "white",
    )
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    draw.text((MARGIN, MARGIN), title, "black", font)
    for row, (label, frames) in enumerate(lines.items()):
        top = MARGIN + LINE + row * (height + MARGIN)
        draw.text((MARGIN, top + height / 2 - 8), label, "black", font)
        for column, frame in enumerate(frames):
            tile = Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
            tile = tile.resize((width, height), Image.Resampling.NEAREST)
            picture.paste(tile, (MARGIN + LABEL + column * (width + GAP), top))
    return picture


def stacked(blocks: list[Image.Image]) -> Image.Image:
    """One picture of several, one above the other."""
    size = max(block.width for block in blocks), sum(block.height for block in blocks)
    sheet, top = Image.new("RGB", size, "white"), 0
    for part in blocks:
        sheet.paste(part, (0, top))
        top += part.height
    return sheet


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()
