"""The report in a browser: sorting, searching, videos in step, and pictures of it for the eye."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image

from pos.reporting.cells import Column
from pos.reporting.charts.curves import Point, curve
from pos.reporting.html import Curve, Panel, write_report
from pos.reporting.tables import Table

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FVD, CLIPSIM = Column("fvd", "FVD", "lower", 2), Column("clipsim", "CLIPSIM", "higher", 3)
VALUES = {"baseline": (80.0, 0.61), "+ONA": (9.5, 0.63), "+SPR": (None, 0.6), "+POS": (100.0, 0.625)}
PROMPTS = ["a red ring moving left", "a blue star", "a ring and a star"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
]


class Page(HTMLParser):
    """The rows of the table in their order, the prompts that are shown, and what the search says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[str] = []
        self.prompts: list[str] = []
        self.output = self.sorted = ""
        self._hidden = False
        self._into: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "article":
            self._hidden = "hidden" in found
        if tag == "th" and "aria-sort" in found:
            self.sorted = f"{found['data-key']} {found['aria-sort']}"
        self._into = "row" if found.get("scope") == "row" else tag if tag in ("h3", "output") else None

    def handle_data(self, data: str) -> None:
        if self._into == "row":
            self.rows.append(data)
        elif self._into == "h3" and not self._hidden:
            self.prompts.append(data)
        elif self._into == "output":
            self.output = data

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 (the parser's signature)
        self._into = None


def results() -> dict:
    rows = {}
    for label, (fvd, clipsim) in VALUES.items():
        delta = {"value": (fvd or 0) - 80, "low": -95.0, "high": 40.0, "verdict": "undecided"}
        rows[label] = {
            "label": label,
            "metrics": {
                "fvd": {"value": fvd, "low": 1, "high": 90},
                "clipsim": {"value": clipsim, "low": 0.5, "high": 0.7},
            },
            "differences": None
            if label == "baseline"
            else {
                "fvd": delta,
                "clipsim": {**delta, "value": 0.02, "low": 0.01, "high": 0.03, "verdict": "better"},
            },
        }
    return {"rows": rows}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    draw = torch.Generator().manual_seed(0)
    panels = [
        Panel(
            prompt,
            {
                label: torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=draw)
                for label in VALUES
            },
            rewritten="a large crimson hoop",
        )
        for prompt in PROMPTS
    ]
    points = [Point("0", 0, 80, 70, 90), Point("1", 1, 60, 55, 65)]
    write_report(
        path,
        title="Table 1",
        summary="What this is.",
        tables=[Table.of("Table 1", results(), (FVD, CLIPSIM))],
        curves=[Curve(curve(points, FVD, "eta"), "A curve.")],
        panels=panels,
        notes=["Few prompts."],
        setting={"steps": 10},
    )
    return path


def run(*arguments: str) -> str:
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=3000",
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def opened(path: Path, address: str = "") -> Page:
    return Page(run("--dump-dom", f"{path.as_uri()}#{address}"))


def test_the_page_opens_in_the_order_of_the_study(report):
    page = opened(report)
    assert page.rows == list(VALUES)
    assert page.prompts == PROMPTS
    assert page.output == "3 of 3 prompts"


@pytest.mark.parametrize(
    ("address", "order"),
    [
        ("sort0=fvd", ["+ONA", "baseline", "+POS", "+SPR"]),  # by number, not by text; without a value: last
        ("sort0=-fvd", ["+POS", "baseline", "+ONA", "+SPR"]),
        ("sort0=-clipsim", ["+ONA", "+POS", "baseline", "+SPR"]),
        ("sort0=row", ["+ONA", "+POS", "+SPR", "baseline"]),
        ("sort0=nothing", list(VALUES)),
    ],
)
def test_a_table_is_sorted(report, address, order):
    page = opened(report, address)
    assert page.rows == order
    column, descending = re.fullmatch(r"sort0=(-?)(\w+)", address).group(2, 1)
    expected = "" if column == "nothing" else f"{column} {'descending' if descending else 'ascending'}"
    assert page.sorted == expected


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("search=ring", [0, 2]),
        ("search=RING+star", [2]),
        ("search=crimson", [0, 1, 2]),  # of the rewritten prompt
        ("search=square", []),
        ("search=blue&sort0=fvd", [1]),
    ],
)
def test_prompts_are_searched(report, address, shown):
    page = opened(report, address)
    assert page.prompts == [PROMPTS[index] for index in shown]
    assert page.output == f"{len(shown)} of 3 prompts"


def scripted(report: Path, script: str) -> dict:
    """What a script appended to the page writes to the page's title as JSON."""
    probe = report.with_name("probe.html")
    probe.write_text(report.read_text() + f"<script>{{{script}}}</script>")
    text = run("--dump-dom", probe.as_uri())
    return json.loads(unescape(re.search(r"<title>(.*?)</title>", text, re.DOTALL)[1]))


def test_clicks_and_typing_do_the_same_and_stand_in_the_address(report):
    """The best first, the worst first, the study's order; the other column takes over."""
    script = """
      const rows = () => [...document.querySelectorAll("tbody th")].map((row) => row.textContent);
      const click = (key) => { document.querySelector(`th[data-key=${key}] button`).click(); return rows(); };
      const seen = [click("fvd"), click("fvd"), click("fvd"), click("clipsim")];
      const box = document.querySelector("#search input");
      box.value = "blue"; box.dispatchEvent(new Event("input"));
      document.title = JSON.stringify({seen, hash: location.hash, visible: box.offsetParent !== null});
    """
    found = scripted(report, script)
    assert found["seen"] == [
        ["+ONA", "baseline", "+POS", "+SPR"],
        ["+POS", "baseline", "+ONA", "+SPR"],
        list(VALUES),
        ["+ONA", "+POS", "baseline", "+SPR"],
    ]
    assert found["hash"] == "#sort0=-clipsim&search=blue"
    assert found["visible"]


def test_all_videos_show_the_same_frame_at_every_moment(report):
    script = """
      const clips = [...document.querySelectorAll(".clip i")];
      const seen = [];
      const look = () => {
        seen.push(clips.map((clip) => getComputedStyle(clip).backgroundPositionX));
        if (seen.length < 12) setTimeout(look, 90);
        else document.title = JSON.stringify(seen);
      };
      look();
    """
    seen = scripted(report, script)
    assert len(seen[0]) == len(PROMPTS) * len(VALUES)
    assert all(len(set(places)) == 1 for places in seen)
    shown = {round(float(places[0].rstrip("%"))) for places in seen}
    assert shown <= {0, 33, 67, 100}
    assert len(shown) > 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_looked_at(report, tmp_path, scheme):
    """Set POS_SCREENSHOTS to a folder to keep the pictures."""
    path = Path(os.environ.get("POS_SCREENSHOTS", tmp_path)) / f"report-{scheme}.png"
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    run(*dark, "--window-size=1200,1600", f"--screenshot={path}", report.as_uri())
    page = Image.open(path).convert("L")
    colours = page.getcolors(256)
    assert page.size == (1200, 1600)
    most = max(colours)[1]  # the background
    assert (most > 200) == (scheme == "light")
    assert len(colours) > 50
