"""A metric of another package goes from an evaluation to its files, a comparison, every table and a sweep."""

from __future__ import annotations

import importlib
import json
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from pos.data.benchmarks.shapes import ShapesBenchmark
from pos.data.shapes.world import draw_scenes, render
from pos.data.video.writing import write_lossless
from pos.errors import PosError
from pos.evaluation import run
from pos.evaluation.compare import compare_folders
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.features import FeatureSet
from pos.evaluation.reference import Reference
from pos.evaluation.score import compare, score
from pos.metrics import registry
from pos.reporting.cells import COST, metric_columns
from pos.reporting.sweeps import Job, Sweep, is_metric
from pos.reporting.tables import Table, scores_markdown

PACKAGE = '''
"""How far the mean feature of the frames is from the real one."""

from pos.metrics.metric import Metric
from pos.metrics.registry import register


def mean_shift(inputs):
    rows = inputs.features["fid"].double().mean(1)
    means = inputs.weights @ rows / inputs.weights.sum(1, keepdim=True)
    return (means - inputs.statistics["fid"].mean).square().sum(1)


register(
    Metric(
        name="mean_shift",
        label="Mean shift",
        better="lower",
        digits=5,
        detector="fid",
        compute=mean_shift,
        row="fid",
        reference="statistics",
        centred=True,
    )
)
'''
CLIPS = 8


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs the package and imports it; both are undone after the test."""
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    folder = tmp_path / "site" / "my_metrics"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(folder.parent)
    importlib.import_module("my_metrics")
    yield
    del sys.modules["my_metrics"]


@pytest.fixture
def evaluated(package, make_detectors, tmp_path):  # noqa: ARG001 - the package registers its metric
    """Clips scored against themselves (a), and darkened ones (b): (benchmark, evaluations by name)."""
    found = make_detectors(0)
    detectors = Detectors(fid=found.fid, size=(64, 64), extra=["mean_shift"])
    benchmark, settings = ShapesBenchmark(size=3), {"device": "cpu", "cache": tmp_path / "cache"}
    clips = render(draw_scenes(range(CLIPS)))
    for name, videos in {"a": clips, "b": clips // 8}.items():
        for index, clip in enumerate(videos):
            path = tmp_path / "videos" / name / f"v{index}.safetensors"
            write_lossless(path, clip)
            path.with_suffix(".json").write_text(json.dumps({"prompt": f"a ring {index}"}))
    settings["reference"] = tmp_path / "real.safetensors"
    run.make_reference(benchmark, detectors, settings["reference"], videos=tmp_path / "videos" / "a",
                       device="cpu", cache=tmp_path / "cache")  # fmt: skip
    return benchmark, {
        name: run.evaluate(
            tmp_path / "videos" / name, None, benchmark, detectors, tmp_path / name, resamples=50, **settings
        )
        for name in "ab"
    }


def test_it_is_evaluated_and_compared(evaluated, tmp_path):
    benchmark, evaluations = evaluated
    written = json.loads((tmp_path / "b" / "results.json").read_text())["metrics"]["mean_shift"]
    assert written == evaluations["b"].metrics["mean_shift"].to_json()
    features = FeatureSet.load(tmp_path / "b" / "features.safetensors").tensors["fid"]
    real = Reference.load(tmp_path / "real.safetensors").statistics["fid"].mean
    expected = (features.double().mean((0, 1)) - real).square().sum()
    assert written["value"] == pytest.approx(float(expected), rel=1e-6)
    assert written["low"] < written["value"] < written["high"]
    assert evaluations["a"].metrics["mean_shift"].value == pytest.approx(0, abs=1e-9)
    real_file = tmp_path / "real.safetensors"
    sentences = compare_folders(tmp_path / "a", tmp_path / "b", benchmark, reference=real_file)
    assert any(sentence.startswith("Mean shift: worse, ") for sentence in sentences)
    text = scores_markdown(evaluations["b"].to_json())
    assert f"| Mean shift ↓ | {written['value']:.5f} |" in " ".join(text.split()).replace("| |", "|")


def test_tables_show_it(evaluated, tmp_path):
    _, evaluations = evaluated
    real = Reference.load(tmp_path / "real.safetensors")
    scores = {
        name: score(
            FeatureSet.load(tmp_path / name / "features.safetensors"),
            real,
            metrics=["mean_shift"],
            resamples=50,
        )
        for name in "ab"
    }
    differences = compare(scores["b"], scores["a"])
    rows = {
        name: {
            "label": name,
            "method": {},
            "metrics": {"mean_shift": found.metrics["mean_shift"].to_json()},
            "differences": None if name == "a" else {"mean_shift": differences["mean_shift"].to_json()},
            "cost": {"evaluations": 1.0, "seconds": 1.0},
        }
        for name, found in evaluations.items()
    }
    columns = [column for column in metric_columns() if column.key == "mean_shift"]
    table = Table.of("T", {"rows": rows}, [*columns, *COST])
    value = f"{rows['b']['metrics']['mean_shift']['value']:.5f}"
    assert "Mean shift ↓" in table.to_markdown()
    assert f"{value} ✗" in table.to_markdown()
    assert r"Mean shift $\downarrow$" in table.to_latex()
    assert rf"{value} $\times$" in table.to_latex()
    page = ElementTree.fromstring(table.to_html())
    assert [heading.get("data-key") for heading in page.findall("./thead/tr/th")][1] == "mean_shift"
    assert value in "".join(page.findall("./tbody/tr")[1].itertext())


def test_a_sweep_shows_it_and_may_optimise_it(evaluated):
    _, evaluations = evaluated
    jobs = [
        Job(name, {"x": name}, found.to_json()["metrics"], ["mean_shift"])
        for name, found in evaluations.items()
    ]
    sweep = Sweep(jobs)
    assert is_metric("mean_shift")
    assert [(column.label, column.better, column.digits) for column in sweep.objectives] == [
        ("Mean shift", "lower", 5)
    ]
    assert [job.name for job in sweep.front] == ["a"]
    assert "Mean shift ↓" in sweep.to_markdown()
    assert f"{evaluations['b'].metrics['mean_shift'].value:.5f}" in sweep.to_markdown()


def test_without_its_package_the_name_is_refused(make_detectors, tmp_path):
    detectors = Detectors(fid=make_detectors(0).fid, size=(64, 64), extra=["mean_shift"])
    with pytest.raises(PosError, match="there is no metric mean_shift, only kid, "):
        run.make_reference(ShapesBenchmark(size=3), detectors, tmp_path / "r.safetensors", cache=tmp_path)
