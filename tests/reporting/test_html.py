"""The report: self-contained, escaped, its films true to the frames."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from pos.errors import PosError
from pos.reporting.figures import Point, curve
from pos.reporting.html import Curve, Panel, film_strip, write_report
from pos.reporting.tables import Column, Table

FVD = Column("fvd", "FVD", "lower", 2)


def video(seed: int, frames: int = 4) -> torch.Tensor:
    return torch.randint(
        0, 256, (frames, 3, 6, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def row(label, value, differences=None):
    return {
        "label": label,
        "metrics": {"fvd": {"value": value, "low": 1, "high": 9}},
        "differences": differences,
    }


def test_a_strip_holds_the_frames_exactly():
    film = video(0)
    data = film_strip(film).removeprefix("data:image/webp;base64,")
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    assert strip.shape == (6, 4 * 8, 3)
    for index, frame in enumerate(film.numpy()):
        assert (strip[:, index * 8 : (index + 1) * 8] == frame.transpose(1, 2, 0)).all()


@pytest.fixture
def page(tmp_path):
    better = {"fvd": {"value": -2.0, "low": -3.0, "high": -1.0, "verdict": "better"}}
    results = {"rows": {"a": row("baseline", 5.0), "b": row("+ONA", 3.0, better)}}
    provenance = {
        "a": {"prompt": "a <b>red</b> ring", "rewritten_prompt": None, "neighbours": []},
        "b": {
            "prompt": "a <b>red</b> ring",
            "rewritten_prompt": "a bright red ring",
            "neighbours": [{"caption": "a crimson hoop", "score": 0.8123}],
        },
    }
    labels = {"a": "baseline", "b": "+ONA"}
    write_report(
        tmp_path / "report.html",
        title="Shapes & more",
        summary="What this is.",
        tables=[Table.of("Table 1", results, (FVD,))],
        curves=[Curve(curve([Point("0", 0, 1.0), Point("1", 1, 2.0)], FVD, "eta"), "A curve.")],
        panels=[Panel.of(provenance, {"a": video(1), "b": video(2)}, labels, video(3))],
        notes=["Few prompts."],
        setting={"steps": 10},
        fps=8,
    )
    return (tmp_path / "report.html").read_text()


def test_the_page_tells_everything(page):
    for text in (
        "What this is.",
        "Few prompts.",
        "a bright red ring",
        "a crimson hoop",
        "(0.81)",
        "A curve.",
    ):
        assert text in page
    assert "\N{MINUS SIGN}2.00 ✓<br/>[\N{MINUS SIGN}3.00, \N{MINUS SIGN}1.00]" in page
    assert '<small class="better">' in page
    assert "<svg" in page


def test_the_page_loads_nothing_and_runs_nothing(page):
    urls = re.findall(r"(?:src|href)=|url\((.{20})", page)
    assert len(urls) == 3  # two rows and the retrieved clip
    assert all(url.startswith("data:image/webp") for url in urls)
    assert "<script" not in page


def test_text_is_escaped(page):
    assert "a &lt;b&gt;red&lt;/b&gt; ring" in page
    assert "<b>red" not in page
    assert "Shapes &amp; more" in page


def test_one_clock_turns_all_films(page):
    assert "steps(4) infinite" in page
    assert "0.500s" in page  # four frames at eight a second
    assert "background-size: 400% 100%" in page
    assert page.count("animation: play") == 1


def test_videos_of_different_length_are_refused(tmp_path):
    panel = Panel("a ring", {"baseline": video(0, 4), "+ONA": video(1, 5)})
    with pytest.raises(PosError, match=r"\[4, 5\] frames"):
        write_report(tmp_path / "r.html", title="t", summary="s", tables=[], panels=[panel])
    assert not (tmp_path / "r.html").exists()
