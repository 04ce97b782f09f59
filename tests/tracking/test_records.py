from __future__ import annotations

import json
import math
from pathlib import Path

from omegaconf import OmegaConf

from pos.tracking.records import flat, log_evaluation, strength
from tests.cli.test_commands import EXACT, run
from tests.tracking.offline import runs
from tests.tracking.recorder import Recorder

FVD = {"value": 9.0, "low": 0.0, "high": None}


def test_intervals_become_numbers_of_their_own():
    assert flat({"fvd": FVD, "is": {"value": None}}) == {
        "fvd": 9.0,
        "is": None,
        "fvd_low": 0.0,
        "is_low": None,
        "fvd_high": None,
        "is_high": None,
    }


def test_infinite_eta_has_a_weight_that_a_chart_can_show():
    assert strength(math.inf, 0.0) == {"eta": None, "eta_weight": 1.0, "gamma": 0.0}
    assert strength(0.75, 0.1) == {"eta": 0.75, "eta_weight": 0.6, "gamma": 0.1}


def test_an_evaluation_logs_metrics_results_and_manifest(tmp_path: Path):
    for name in ("results.json", "ucf101.json"):
        (tmp_path / name).write_text("{}")
    cfg = OmegaConf.create({"out": str(tmp_path), "manifest": str(tmp_path / "ucf101.json")})
    recorder = Recorder()
    assert log_evaluation(recorder, cfg, {"metrics": {"fvd": FVD}}) == {"fvd": FVD}
    assert recorder.numbers[tmp_path.name]["fvd"] == 9.0
    assert recorder.tables["metrics"][1] == [["", "fvd", 9.0, 0.0, None]]
    assert recorder.artifacts == {"results results": ["results.json"], "manifest benchmark": ["ucf101.json"]}
    assert log_evaluation(None, cfg, {"metrics": {"fvd": FVD}}) == {"fvd": FVD}


def test_generate_logs_videos_and_provenance(tmp_path: Path):
    arguments = [*EXACT, "prompt=red, of course", "seeds=0,1", "logger=wandb", "logger.mode=offline"]
    status, _, stderr = run(tmp_path, "generate", *arguments, environment={"OPENAI_API_KEY": "sk-planted"})
    assert status == 0, stderr
    assert "wandb sync" in stderr
    (logged,) = runs(tmp_path / "outputs")
    assert (logged.kind, logged.history["videos"]) == ("generate", 2)
    assert logged.config["prompt"] == "red, of course"
    first, second = logged.table("generated")
    assert (first["prompt"], first["seed"], second["seed"]) == ("red, of course", 0, 1)
    assert first["video"].read_bytes()[:3] == b"GIF"
    assert logged.history["video/2"]["caption"] == "red, of course"
    records = [json.loads(path.read_text()) for path in logged.artifacts["provenance"].values()]
    assert {record["seed"] for record in records} == {0, 1}
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"sk-planted" in path.read_bytes()]


def test_online_without_a_login_is_refused_before_any_work(tmp_path: Path):
    arguments = [*EXACT, "prompt=red", "logger=wandb", "logger.mode=online"]
    status, _, stderr = run(tmp_path, "generate", *arguments)
    assert status == 2
    assert stderr.startswith("error: mode=online needs a login of W&B: run `wandb login`")
    assert not list(tmp_path.rglob("*.safetensors"))
