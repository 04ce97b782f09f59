"""The report: self-contained, escaped, its films true to the frames."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from pos.errors import PosError
from pos.reporting.charts.curves import Point, curve
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


@pytest.mark.parametrize(
    ("frames", "height", "width", "shown"),
    [
        (4, 300, 600, (128, 256)),
        (16, 576, 1024, (144, 256)),
        (200, 60, 100, (49, 81)),
        (1, 512, 512, (256, 256)),
    ],
)
def test_large_and_long_videos_are_shrunk(frames, height, width, shown):
    film = torch.zeros(frames, 3, height, width, dtype=torch.uint8)
    film[:, 0] = 200
    data = film_strip(film).removeprefix("data:image/webp;base64,")
    strip = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    assert strip.size == (frames * shown[1], shown[0])
    assert np.asarray(strip).reshape(-1, 3).mean(0) == pytest.approx([200, 0, 0], abs=4)


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
        pictures={"figure 5": b"PNG"},
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


def test_the_page_loads_nothing(page):
    urls = re.findall(r"url\((.{20})", page)
    assert len(urls) == 3  # two rows and the retrieved clip
    assert all(url.startswith("data:image/webp") for url in urls)
    assert re.findall(r"(?:src|href)=\"(.{21})", page) == ["data:image/png;base64"]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|fetch\(|import ", page)
    assert page.count("<script>") == page.count("<script") == 1


def test_what_is_sorted_and_searched_is_marked(page):
    """What ``report.js`` looks for; without it the page shows everything and no search box."""
    assert '<table class="results">' in page
    assert '<th scope="col" data-key="fvd" data-better="lower">FVD ↓</th>' in page
    assert '<td data-value="3.0">' in page
    assert '<label id="search" hidden>' in page
    assert page.count('<svg class="bar"') == 1


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


def test_a_study_without_rows_or_videos_has_a_report(tmp_path):
    """A figure alone."""
    write_report(tmp_path / "r.html", title="figure2", summary="s", tables=[], pictures={"plot": b"PNG"})
    page = (tmp_path / "r.html").read_text()
    assert "data:image/png;base64,UE5H" in page
    assert not {'id="search"', 'id="pause"', "<table"} & set(re.findall(r'id="\w+"|<table', page))
