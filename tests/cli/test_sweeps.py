"""Sweeps and their dashboards with the real commands on Shapes: killed, resumed, repeated, data parallel."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import yaml

from tests.cli.test_commands import ROOT, run, start

TINY = [
    "study=setting",
    "benchmark.size=8",
    "steps=2",
    "resamples=20",
    "report_prompts=2",
    "inversion_check=false",
]
SECRETS = {
    "OPENAI_API_KEY": "sk-planted-secret",
    "DB_PASSWORD": "planted-password",
    "WANDB_API_KEY": "p" * 40,
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the sweeps share: the embedded captions, inversions and rewrites."""
    return f"cache={tmp_path_factory.mktemp('cache')}"


def records(folder: Path) -> dict[str, dict]:
    """The finished jobs by the name of their folder."""
    found = {path.parent.name: json.loads(path.read_text()) for path in folder.rglob("job.json")}
    return {name: record for name, record in found.items() if not record["failed"]}


def made(folder: Path) -> dict[str, int]:
    """When each video was written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("videos/*/*-s0.safetensors")}


def test_a_sweep_of_nine_is_killed_resumed_and_repeated(tmp_path: Path, cache: str):
    arguments = [
        "-m",
        *TINY,
        cache,
        "study.eta=0,0.3,1",
        "study.gamma=0,0.1,0.5",
        "out=sweep",
        "hydra/launcher=joblib",
    ]
    process = start(tmp_path, "reproduce", *arguments, start_new_session=True)
    deadline = time.monotonic() + 600
    while len(records(tmp_path)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)  # the workers too
    process.communicate(timeout=60)
    done, videos = records(tmp_path), made(tmp_path)
    assert 3 <= len(done) < 9

    status, stdout, stderr = run(tmp_path, "reproduce", *arguments)
    assert status == 0, stderr
    assert "**9 jobs**" in stdout
    finished, written = records(tmp_path), made(tmp_path)
    assert len(finished) == 9
    assert len(written) == 9 * 8
    assert videos.items() <= written.items()  # what was there was not made again
    assert all(finished[name]["values"] == record["values"] for name, record in done.items())
    sweep = tmp_path / "sweep"
    assert len((sweep / "sweep.csv").read_text().splitlines()) == 10
    for name in ("heat_fvd.svg", "heat_clipsim.svg", "pareto.svg", "pareto.csv"):
        assert (sweep / name).exists(), name

    assert run(tmp_path, "reproduce", *arguments)[0] == 0
    assert made(tmp_path) == written
    assert {n: r["values"] for n, r in records(tmp_path).items()} == {
        n: r["values"] for n, r in finished.items()
    }


def test_a_setting_that_fails_leaves_the_others(tmp_path: Path, cache: str):
    arguments = ["-m", *TINY, cache, "study.eta=0,-1", "study.gamma=0", "out=sweep"]
    status, stdout, stderr = run(tmp_path, "reproduce", *arguments)
    assert status == 2
    assert "**2 jobs, 1 failed**" in stdout
    assert "eta=-1" in stdout
    assert stderr.splitlines()[-1].startswith("error: 1 of 2 jobs failed, the first is ")
    assert len(records(tmp_path)) == 1


def test_optuna_looks_for_a_low_fvd_and_a_high_clipsim(tmp_path: Path, cache: str):
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "study.eta=interval(0,2)", "study.gamma=0"]
    status, stdout, stderr = run(tmp_path, "reproduce", "-m", *TINY, cache, *search, "out=sweep")
    assert status == 0, stderr
    assert "**3 jobs**" in stdout
    solutions = yaml.safe_load((tmp_path / "sweep/optimization_results.yaml").read_text())["solutions"]
    lines = (tmp_path / "sweep/pareto.csv").read_text().splitlines()
    assert len(lines) == len(solutions) + 1


def test_a_sweep_of_data_parallel_training(tmp_path: Path):
    tiny = ["trainer=cpu", "trainer.devices=2", "workers=0", "data.batch_size=2", "data.validation=4"]
    tiny += [
        "task.network.widths=[8,8,8]",
        "task.network.dim=32",
        "task.network.grid=4",
        "task.network.layers=1",
    ]
    tiny += ["data.validation_batch_size=4", "ema.every=1", "max_steps=2"]
    status, stdout, stderr = run(
        tmp_path,
        "train",
        *("-m", "+experiment=shapes/judge", *tiny, "seed=0,1", "out=runs"),
        *("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    )
    assert status == 0, stderr
    assert "**2 jobs**" in stdout
    cards = [path.read_text() for path in tmp_path.rglob("weights.md")]
    assert len(cards) == 2
    assert all("- samples seen: 8\n" in card for card in cards)  # 2 steps of 2 samples in 2 processes


def test_the_agent_of_wandb_runs_a_setting_of_the_sweep_file(tmp_path: Path, cache: str):
    """The command line is what wandb's own agent makes of the file."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    sweep = yaml.safe_load((ROOT / "experiments/wandb_sweep.yaml").read_text())
    assert {"study.eta", "study.gamma"} == set(sweep["parameters"])
    chosen = {key: {"value": parameter["values"][1]} for key, parameter in sweep["parameters"].items()}
    words = utils.create_sweep_command_args({"args": chosen})
    line = []
    for word in utils.create_sweep_command(sweep["command"]):
        line += words[word[2:-1]] if word == "${args_no_hyphens}" else [word]
    assert line[:3] == ["${env}", "${interpreter}", "${program}"]
    assert sweep["program"] == "experiments/reproduce.py"
    environment = {"WANDB_SWEEP_ID": "sweep1", "WANDB_RUN_ID": "run1", "WANDB_MODE": "offline", **SECRETS}
    status, stdout, stderr = run(
        tmp_path, "reproduce", *line[3:], *TINY[1:], cache, "logger.mode=offline", environment=environment
    )
    assert status == 0, stderr
    assert "**1 jobs**" in stdout
    from tests.tracking.offline import runs

    (logged,) = runs(tmp_path)
    assert logged.id == "run1"
    assert (logged.config["eta"], logged.config["gamma"]) == (0.1, 0.1)
    assert logged.history["fvd"] > 0


def test_a_study_logs_its_rows_videos_and_files_and_no_secret(tmp_path: Path, cache: str):
    arguments = ["study=table1", *TINY[1:], cache, "logger=wandb", "logger.mode=offline", "out=out"]
    status, _, stderr = run(
        tmp_path, "reproduce", *arguments, environment={**SECRETS, "HOME": str(tmp_path / "home")}
    )
    assert status == 0, stderr
    from tests.tracking.offline import runs

    logged = {entry.name: entry for entry in runs(tmp_path / "out")}
    assert set(logged) == {"baseline", "+ONA", "+SPR", "+POS", "+POS*", "table1 in out"}
    assert {entry.group for entry in logged.values()} == {"table1"}
    results = json.loads((tmp_path / "out/table1.json").read_text())["rows"]
    for row in results.values():
        entry = logged[row["label"]]
        assert entry.history["fvd"] == pytest.approx(row["metrics"]["fvd"]["value"])
        assert entry.history["fvd_high"] == pytest.approx(row["metrics"]["fvd"]["high"])
        assert entry.history["evaluations"] == row["cost"]["evaluations"]
        assert entry.config["steps"] == 2
        assert entry.file("video/2").stat().st_size > 0
    study = logged["table1 in out"]
    lines = study.table("side_by_side")
    assert len(lines) == 2
    assert all(
        lines[0][label].read_bytes()[:3] == b"GIF" for label in ("baseline", "+ONA", "+SPR", "+POS", "+POS*")
    )
    assert set(study.artifacts["table1-results"]) >= {"table1.md", "table1.csv", "table1.json", "report.html"}
    assert study.artifacts["table1-results"]["table1.json"].exists()
    planted = [text.encode() for text in SECRETS.values()]
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        data = path.read_bytes()
        assert not any(secret in data for secret in planted), path
