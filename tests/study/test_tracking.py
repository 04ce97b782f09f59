"""What is logged of a study on the disk: two rows with videos, and one that could not be generated."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from pos.data.video.writing import write_lossless
from pos.evaluation.bootstrap import Estimate
from pos.evaluation.score import Difference
from pos.method import Method
from pos.provenance import Cost
from pos.retrieval import Neighbour
from pos.spr.rewriting import Rewrite
from pos.study.results import RowResult, StudyResults
from pos.study.tracking import log_study
from tests.known import known_provenance
from tests.study.test_results import known_setting
from tests.tracking.recorder import Recorder

METHODS = {
    "baseline": Method(),
    "pos": Method(noise="inversion", eta=math.inf, rewrite=True, gamma=0.1),
    "pos_star": Method(noise="npnet", eta=1),
}
COST = Cost(20, 1.5, 1.0, 0.25, 0.25)


def result(label: str, key: str, fvd: float) -> RowResult:
    return RowResult(
        label=label,
        method=METHODS[key],
        guidance=1.0,
        metrics={"fvd": Estimate(fvd, 0.0, fvd + 1)},
        differences={"fvd": Difference(fvd, 0.0, fvd + 1, "better")} if key == "pos" else None,
        cost=COST,
        videos=f"videos/{key}",
        missing={"is": "C3D weights not found."},
    )


@pytest.fixture
def study(tmp_path: Path) -> DictConfig:
    rows = {"baseline": result("baseline", "baseline", 9.0), "pos": result("+POS", "pos", 7.0)}
    gap = RowResult("+POS*", METHODS["pos_star"], missing={"fvd": "No NPNet."})
    write_results(tmp_path, {**rows, "pos_star": gap})
    lines = []
    for row in rows:
        for number in range(3):
            for seed in (0, 1):
                write_lossless(
                    tmp_path / "videos" / row / f"test-{number}-s{seed}.safetensors",
                    torch.zeros(4, 3, 16, 16, dtype=torch.uint8),
                )
                parts = {"id": f"test-{number}", "seed": seed, "prompt": f"prompt {number}"}
                if row == "pos":
                    parts["rewrite"] = Rewrite("rewritten", True, 1, 0.5, None)
                    parts["neighbours"] = [Neighbour(0, "clip-0", "a clip", 0.5)]
                else:
                    parts |= {"rewrite": None, "neighbours": []}
                lines.append({"row": row, **known_provenance(**parts).to_json()})
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "table9.md").write_text("a table")
    (tmp_path / "table9-fvd.svg").write_text("<svg/>")
    return OmegaConf.create({"out": str(tmp_path), "study": {"name": "table9"}, "report_prompts": 2})


def write_results(folder: Path, rows: dict[str, RowResult]) -> None:
    results = StudyResults("table9", known_setting(), rows, [])
    (folder / "table9.json").write_text(json.dumps(results.to_json()))


def test_rows_are_runs_of_the_study_and_stand_side_by_side(study: DictConfig):
    recorder = Recorder()
    values = log_study(recorder, study)
    assert values == {"fvd": {"value": 7.0, "low": 0.0, "high": 8.0}, **COST.to_json()}
    name = f"table9 in {Path(study.out).name}"
    assert [*recorder.identities] == ["baseline", "+POS", name]
    assert {identity.group for identity in recorder.identities.values()} == {"table9"}
    assert [identity.kind for identity in recorder.identities.values()] == ["row", "row", "study"]
    config = recorder.identities["+POS"].config
    assert (config["row"], config["eta"], config["eta_weight"], config["gamma"]) == ("pos", None, 1.0, 0.1)
    assert config["study"] == {"name": "table9"}
    assert recorder.numbers["+POS"] == {
        "fvd": 7.0, "fvd_low": 0.0, "fvd_high": 8.0,
        "fvd_difference": 7.0, "fvd_difference_low": 0.0, "fvd_difference_high": 8.0,
        **COST.to_json(),
    }  # fmt: skip
    assert name not in recorder.numbers  # no point of its own in the dashboard's curves
    assert recorder.shown["+POS"] == [(f"pos-test-{i}-s0.gif", f"prompt {i}") for i in range(2)]
    columns, lines = recorder.tables["side_by_side"]
    assert columns == ["prompt", "rewritten prompt", "retrieved", "baseline", "+POS"]
    assert lines[1][:3] == ["prompt 1", "rewritten", "a clip"]
    assert [path.name for path in lines[1][3:]] == ["baseline-test-1-s0.gif", "pos-test-1-s0.gif"]
    assert ["+POS*", "fvd", "No NPNet."] in recorder.tables["gaps"][1]
    assert recorder.tables["cost"] == (
        ["row", *COST.to_json()],
        [["baseline", *COST.to_json().values()], ["+POS", *COST.to_json().values()]],
    )
    assert recorder.artifacts == {
        "results table9-results": ["table9.md", "table9.json", "table9-fvd.svg"],
        "manifest table9-videos": ["results.jsonl"],
    }


def test_a_study_of_one_row_is_one_run(study: DictConfig):
    write_results(Path(study.out), {"pos": result("+POS", "pos", 7.0)})
    recorder = Recorder()
    log_study(recorder, study)
    ((name, identity),) = recorder.identities.items()
    assert (identity.kind, identity.config["gamma"]) == ("study", 0.1)
    assert recorder.numbers[name]["fvd"] == 7.0
    assert len(recorder.shown[name]) == 2


def test_the_manifest_of_the_benchmark_is_logged(study: DictConfig, tmp_path: Path):
    study.manifest = str(tmp_path / "ucf101.json")
    (tmp_path / "ucf101.json").write_text("{}")
    recorder = Recorder()
    log_study(recorder, study)
    assert recorder.artifacts["manifest benchmark"] == ["ucf101.json"]


def test_nothing_is_logged_without_a_logger(study: DictConfig):
    assert log_study(None, study)["fvd"]["value"] == 7.0
    assert not list(Path(study.out).rglob("*.gif"))


def test_a_study_without_rows_is_logged_too(study: DictConfig):
    write_results(Path(study.out), {})
    recorder = Recorder()
    assert log_study(recorder, study) == {}
    assert recorder.tables["results"][1] == recorder.tables["side_by_side"][1] == []
