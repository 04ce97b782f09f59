"""The table of a sweep, its Pareto front and its drawings, on values whose order is known."""

from __future__ import annotations

import csv
import io
import math
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pos.reporting.cells import ABSENT, Column
from pos.reporting.charts.heatmaps import heatmap, scatter
from pos.reporting.sweeps import Job, Sweep, is_metric

FVD, CLIPSIM = Column("fvd", "FVD", "lower", 1), Column("clipsim", "CLIPSIM", "higher", 3)
NAMESPACE = "{http://www.w3.org/2000/svg}"


def job(eta: str, gamma: str, fvd: float | None, clipsim: float | None = 0.5, **others) -> Job:
    values = (
        None if fvd is None else {"fvd": {"value": fvd, "low": fvd - 1, "high": fvd + 1}, "clipsim": clipsim}
    )
    typed = {"study": "setting", "study.eta": eta, "study.gamma": gamma}
    return Job(f"eta={eta},gamma={gamma}", typed, values, ["fvd", "clipsim"], 1.5, **others)


def test_jobs_are_named_by_what_differs_and_sorted_by_number():
    sweep = Sweep([job("inf", "0", 3.0), job("10", "0", 2.0), job("9", "0.5", 1.0), job("9", "0", 4.0)])
    assert sweep.keys == ["study.eta", "study.gamma"]
    rows = [line.split("|")[1].strip() for line in sweep.to_markdown().splitlines() if "=" in line]
    assert rows == ["eta=9, gamma=0", "eta=9, gamma=0.5", "eta=10, gamma=0", "eta=inf, gamma=0"]


def test_keys_that_end_alike_keep_their_whole_names():
    jobs = [Job(name, {"a.eta": name, "b.eta": name}, {"fvd": 1.0}) for name in "12"]
    assert "a.eta=1, b.eta=1" in Sweep(jobs).to_markdown()


def test_a_failed_job_stands_in_the_table_with_its_reason():
    markdown = Sweep([job("0", "0", 1.0), job("1", "0", None, failed="No | such file.")]).to_markdown()
    assert "**2 jobs, 1 failed**" in markdown
    (line,) = [line for line in markdown.splitlines() if line.startswith("| eta=1")]
    assert "failed: No \\| such file." in line


def test_details_stand_in_the_csv_alone():
    values = {
        "accuracy": 0.5,
        "accuracy_shape": 0.25,
        "seconds": 2.0,
        "seconds_sampling": 1.0,
        "clip_fid": 3.0,
    }
    sweep = Sweep([Job(name, {"x": name}, values) for name in "12"])
    heading = next(line for line in sweep.to_markdown().splitlines() if "Accuracy" in line)
    assert "CLIP-FID" in heading
    assert not {"Shape", "seconds_sampling"} & set(heading.replace("|", " ").split())
    rows = list(csv.DictReader(io.StringIO(sweep.to_csv())))
    assert [row["accuracy_shape"] for row in rows] == ["0.25", "0.25"]
    assert set(sweep.files()) == {"sweep.md", "sweep.csv"}


def test_the_extra_metrics_are_metrics_and_no_details_of_others():
    grid = [(eta, gamma) for eta in "01" for gamma in "01"]
    values = {"fvd": 5.0, "fvd_videomae": 7.0, "fvd_clip": 1.0, "kid": 0.0004, "consistency": 0.5}
    sweep = Sweep([Job(f"{x}{y}", {"x": x, "y": y}, values, ["fvd_videomae", "kid"]) for x, y in grid])
    heading = next(line for line in sweep.to_markdown().splitlines() if "FVD" in line)
    assert "FVD (VideoMAE) ↓" in heading
    assert "Frame consistency ↑" in heading
    assert "fvd_clip" not in heading
    assert "0.0004" in sweep.to_markdown()
    assert {"heat_kid.svg", "heat_fvd_videomae.svg", "heat_consistency.svg"} <= set(sweep.files())
    assert [column.better for column in sweep.objectives] == ["lower", "lower"]


def test_what_some_command_measures_is_a_metric():
    known = ["fid", "kid", "diversity", "accuracy_shape", "seconds", "seconds_sampling", "evaluations"]
    assert all(map(is_metric, known))
    assert not any(map(is_metric, ["fidd", "", "fvd_x", "eta"]))


def test_the_front_holds_the_jobs_that_no_other_one_beats():
    best, middle, clear = job("0", "0", 1.0, 0.1), job("1", "0", 2.0, 0.5), job("2", "0", 3.0, 0.9)
    beaten, failed = job("3", "0", 2.5, 0.5), job("4", "0", None, failed="x")
    sweep = Sweep([beaten, clear, failed, middle, best])
    assert sweep.front == [best, middle, clear]
    starred = [line for line in sweep.to_markdown().splitlines() if "★ |" in line]
    assert len(starred) == 3
    listed = [row["job"] for row in csv.DictReader(io.StringIO(sweep.files()["pareto.csv"]))]
    assert listed == [job.name for job in (best, middle, clear)]


def test_values_that_are_no_numbers_are_not_on_the_front():
    sweep = Sweep([job("0", "0", math.nan, 0.9), job("1", "0", 2.0, 0.5)])
    assert [found.name for found in sweep.front] == ["eta=1,gamma=0"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_every_job_off_the_front_is_beaten_by_one_on_it(measured):
    sweep = Sweep([job(str(i), "0", float(fvd), float(sim)) for i, (fvd, sim) in enumerate(measured)])
    front = [(found.cell("fvd").value, found.cell("clipsim").value) for found in sweep.front]
    assert front
    for found in sweep.jobs:
        fvd, sim = found.cell("fvd").value, found.cell("clipsim").value
        beaten = any((f <= fvd and s >= sim) and (f, s) != (fvd, sim) for f, s in front)
        assert (found in sweep.front) != beaten


def test_heat_maps_need_two_numbers():
    grid = [job(eta, gamma, 1.0) for eta in ("0", ".inf") for gamma in ("0", "1")]
    assert {"heat_fvd.svg", "heat_clipsim.svg"} <= set(Sweep(grid).files())
    words = [job(eta, gamma, 1.0) for eta in ("0", "1") for gamma in ("low", "high")]
    assert not [name for name in Sweep(words).files() if name.startswith("heat")]


def elements(svg: str, kind: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(f"{NAMESPACE}{kind}"))


@pytest.mark.parametrize(("column", "best"), [(FVD, "1.0"), (CLIPSIM, "4.000")])
def test_the_best_cell_is_the_darkest_and_framed(column: Column, best: str):
    cells = {(0.0, 0.0): 1.0, (0.0, 1.0): 2.0, (math.inf, 0.0): 4.0, (math.inf, 1.0): None}
    svg = heatmap(cells, column, "eta", "gamma")
    shown = [text.text for text in elements(svg, "text")]
    assert {"eta", "gamma", "0", "1", "inf", ABSENT} <= set(shown)
    boxes = {box.attrib["class"]: [] for box in elements(svg, "rect")}
    for box in elements(svg, "rect"):
        boxes[box.attrib["class"]].append(box.attrib)
    assert len(boxes["cell"]) == 3
    assert len(boxes["absent"]) == len(boxes["best"]) == 1
    darkest = max(boxes["cell"], key=lambda box: float(box["fill-opacity"]))
    assert (darkest["x"], darkest["y"]) == (boxes["best"][0]["x"], boxes["best"][0]["y"])
    inside = [text.text for text in elements(svg, "text") if text.attrib["class"] == "on"]
    assert best in inside


def test_equal_values_can_be_drawn():
    assert "nan" not in heatmap({(0.0, 0.0): 1.0, (0.0, 1.0): 1.0}, FVD, "eta", "gamma")
    assert "nan" not in scatter([("a", 1.0, 1.0, True)], FVD, CLIPSIM)


def test_the_front_is_joined_from_left_to_right_to_scale():
    points = [("b", 3.0, 0.9, True), ("c", 3.0, 0.1, False), ("a", 1.0, 0.1, True), ("d<", 2.0, 0.5, True)]
    svg = scatter(points, FVD, CLIPSIM)
    (line,) = elements(svg, "polyline")
    places = [tuple(map(float, place.split(","))) for place in line.attrib["points"].split()]
    assert places == sorted(places)
    assert places[1][0] == pytest.approx((places[0][0] + places[2][0]) / 2)
    assert places[0][1] > places[1][1] > places[2][1]  # larger values stand higher
    assert [dot.attrib["class"] for dot in elements(svg, "circle")] == ["dot", "front", "front", "front"]
