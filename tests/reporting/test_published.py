"""The paper's tables: what is found, what is refused, and that Shapes stands alone."""

import csv
import functools

import pytest

from pos.config.loading import load_config
from pos.errors import PosError
from pos.reporting.published import FOLDER, find_published
from pos.storage import asset

HEADER = "# a comment\nbackbone,benchmark,method,eta,gamma,metric,value\n"
SHIPPED = sorted(path.stem for path in asset(FOLDER).glob("*.csv"))


@pytest.fixture
def write(tmp_path):
    def write(text: str):
        (tmp_path / "table1.csv").write_text(HEADER + text)
        return tmp_path

    return write


def test_numbers_settings_and_differences_are_found(write):
    folder = write(
        "modelscope,msrvtt,baseline,,,fid,40.5\nmodelscope,msrvtt,ona,0.2,,fid,39.25\n"
        "modelscope,msrvtt,ona,0.2,,clipsim,\nscvideo,msrvtt,baseline,,,fid,7\n"
    )
    paper = find_published("table1", "modelscope", "msrvtt", folder)
    assert list(paper.rows) == ["baseline", "ona"]
    assert (paper.rows["ona"].eta, paper.rows["ona"].gamma) == (0.2, None)
    assert (paper.value("ona", "fid"), paper.delta("ona", "baseline", "fid")) == (39.25, -1.25)
    assert paper.delta("baseline", "baseline", "fid") is None
    assert paper.delta("baseline", "ona", "fid") == 1.25
    assert (paper.value("ona", "clipsim"), paper.untranscribed("ona", "clipsim")) == (None, True)
    assert (paper.value("ona", "fvd"), paper.untranscribed("ona", "fvd")) == (None, False)  # no such number
    assert (paper.value("pos", "fid"), paper.untranscribed("pos", "fid")) == (None, False)


def test_only_the_same_study_backbone_and_benchmark_match(write):
    folder = write("modelscope,msrvtt,baseline,,,fid,40.5\n")
    for setting in (
        ("table2", "modelscope", "msrvtt"),
        ("table1", "scvideo", "msrvtt"),
        ("table1", "modelscope", "ucf101"),
        ("table1", "modelscope", "shapes-test"),
        ("table1", "shapes", "msrvtt"),
    ):
        assert find_published(*setting, folder) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "shapes,shapes-test,baseline,,,fid,1\n",
            "names Shapes, whose numbers are never shown beside the paper's",
        ),
        ("modelscope,shapes-test,baseline,,,fid,1\n", "names Shapes"),
        ("modelscope,msrvtt,baseline,,,fid,1\n" * 2, "gives fid of baseline of modelscope on msrvtt twice"),
        (
            "modelscope,msrvtt,ona,0.2,,fid,1\nmodelscope,msrvtt,ona,0.3,,is,1\n",
            "two settings",
        ),
        ("modelscope,msrvtt,baseline,,,fid,4O.5\n", "holds '4O.5' where only a number or nothing is allowed"),
        ("modelscope,msrvtt,baseline,,,fid,nan\n", "holds 'nan'"),
        ("modelscope,msrvtt,baseline\n", "must have 7 values a line, and 'baseline' has not"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(write, text, message):
    with pytest.raises(PosError, match=message):
        find_published("table1", "modelscope", "msrvtt", write(text))


def test_other_columns_are_refused(tmp_path):
    (tmp_path / "table1.csv").write_text("backbone,benchmark,method,value\n")
    with pytest.raises(PosError, match="lacks the column eta and gamma and metric"):
        find_published("table1", "modelscope", "msrvtt", tmp_path)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_files_can_be_read(name):
    lines = asset(f"{FOLDER}/{name}.csv").read_text().splitlines()
    assert lines[0].startswith("# arXiv 2311.00949, Table ")
    settings = {(line["backbone"], line["benchmark"]) for line in csv.DictReader(lines[1:])}
    assert bool(settings) != name.startswith("table4")  # of which we know not even the rows
    for backbone, benchmark in settings:
        paper = find_published(name, backbone, benchmark)
        first = next(iter(paper.rows.values()))
        assert (first.eta, first.gamma) == (None, None)


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(PosError, match=r"published=.*absent is no folder"):
        find_published("table1", "modelscope", "msrvtt", tmp_path / "absent")
    assert find_published("eta_star", "modelscope", "msrvtt", tmp_path) is None  # the paper has no such table


def test_a_table_without_lines_is_not_transcribed(write):
    folder = write("")
    paper = find_published("table1", "modelscope", "msrvtt", folder)
    assert paper.rows == {}
    assert (paper.value("ona", "fid"), paper.delta("ona", "baseline", "fid")) == (None, None)
    assert not paper.untranscribed("ona", "fid")
    assert find_published("table1", "modelscope", "shapes-test", folder) is None
    assert find_published("table1", "shapes", "msrvtt", folder) is None


@pytest.mark.parametrize("name", ["table1", "table2", "table3"])
def test_our_settings_are_the_published_ones(name):
    """Which the studies take by default."""
    lines = csv.DictReader(asset(f"{FOLDER}/{name}.csv").read_text().splitlines()[1:])
    composed = functools.cache(
        lambda *names: load_config("reproduce", f"backbone={names[0]}", f"benchmark={names[1]}").settings
    )
    for line in lines:
        ours = composed(line["backbone"], line["benchmark"])
        star = "_star" if line["method"] == "pos_star" else ""
        for key in ("eta", "gamma"):
            assert not line[key] or float(line[key]) == ours[key + star], line


def test_the_published_settings_are_the_papers():
    rows = find_published("table1", "modelscope", "msrvtt").rows
    assert (rows["pos"].eta, rows["pos"].gamma) == (0.2, 0.04)
    rows = find_published("table2", "scvideo", "ucf101").rows
    assert (rows["pos_star"].eta, rows["pos_star"].gamma) == (0.5, 0.5)
