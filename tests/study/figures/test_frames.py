"""Frames side by side: every pixel of the picture is one of a video's."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pos.data.video.reading import read_video
from pos.errors import PosError
from pos.study.figures import frames as sheet
from pos.study.figures.frames import FrameSheet, block, png, stacked
from tests.known import PROMPTS, STUDY_ROWS, known_study


def test_a_block_holds_every_frame_enlarged_by_a_whole_factor():
    generator = torch.Generator().manual_seed(0)
    lines = {
        name: torch.randint(0, 256, (3, 3, 40, 50), generator=generator, dtype=torch.uint8) for name in "ab"
    }
    picture = np.asarray(block("a title", lines))
    factor = 3  # 40 pixels are too few, 120 are enough
    for row, video in enumerate(lines.values()):
        top = sheet.MARGIN + sheet.LINE + row * (40 * factor + sheet.MARGIN)
        for column, frame in enumerate(video):
            left = sheet.MARGIN + sheet.LABEL + column * (50 * factor + sheet.GAP)
            tile = picture[top : top + 40 * factor, left : left + 50 * factor]
            assert np.array_equal(tile[::factor, ::factor].transpose(2, 0, 1), frame.numpy())
            assert np.array_equal(tile, tile[::factor, ::factor].repeat(factor, 0).repeat(factor, 1))


def test_a_sheet_spreads_its_frames_over_each_video():
    videos = {
        "long": torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 3, 96, 96),
        "short": torch.full((2, 3, 96, 96), 9, dtype=torch.uint8),
    }
    picture = np.asarray(sheet.sheet("a title", videos, frames=2))
    top, left = sheet.MARGIN + sheet.LINE, sheet.MARGIN + sheet.LABEL
    places = [(top, left), (top, left + 96 + sheet.GAP), (top + 96 + sheet.MARGIN, left)]
    assert [picture[place].tolist() for place in places] == [[2] * 3, [6] * 3, [9] * 3]
    assert sheet.sheet("a title", {"short": videos["short"]}, frames=6).width == left + 2 * 96 + 4 + 8


def test_latents_in_false_colour():
    latents = torch.tensor([-3.0, 0.0, 3.0, 7.0]).view(4, 1, 1, 1).expand(4, 5, 2, 2)
    video = sheet.false_colour(latents)
    assert video.shape == (5, 3, 2, 2)
    assert video.dtype == torch.uint8
    assert video[0, :, 0, 0].tolist() == [0, 128, 255], "the fourth channel is not shown"
    assert sheet.false_colour(3 * latents)[0, :, 0, 0].tolist() == [0, 128, 255]


def test_blocks_are_stacked():
    parts = [Image.new("RGB", (30, 10), "red"), Image.new("RGB", (20, 5), "blue")]
    found = stacked(parts)
    assert found.size == (30, 15)
    assert found.getpixel((5, 12)) == (0, 0, 255)
    assert Image.open(io.BytesIO(png(found))).size == (30, 15)


def test_the_finding_of_a_study(tmp_path: Path):
    study = known_study(tmp_path)
    FrameSheet().check(study)  # needs nothing
    study.generate()
    finding = FrameSheet(prompts=2, frames=9).measure(study, None, None, "cpu")
    assert finding.measured == {"prompts": [p.id for p in PROMPTS[:2]], "rows": list(STUDY_ROWS)}
    picture = np.asarray(Image.open(io.BytesIO(finding.pictures["frames"])))
    side = 4 * 24
    height = sheet.MARGIN + sheet.LINE + 3 * (side + sheet.MARGIN)
    assert picture.shape == (2 * height, 2 * sheet.MARGIN + sheet.LABEL + 2 * side + sheet.GAP, 3)
    video = read_video(study.videos("spr").path / f"{PROMPTS[1].id}-s0.safetensors", 2)
    top = height + sheet.MARGIN + sheet.LINE + 2 * (side + sheet.MARGIN)
    left = sheet.MARGIN + sheet.LABEL
    tile = picture[top : top + side : 24, left : left + side : 24]
    assert np.array_equal(tile.transpose(2, 0, 1), video[0].numpy())


@pytest.mark.parametrize("chosen", [{"prompts": 0}, {"frames": 0}])
def test_nothing_to_show(chosen: dict[str, int]):
    with pytest.raises(PosError, match="show at least one of each"):
        FrameSheet(**chosen)
