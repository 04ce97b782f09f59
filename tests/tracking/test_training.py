from __future__ import annotations

from pathlib import Path

import pytest

from pos.training.runner import train
from tests.tracking.offline import runs
from tests.training.test_runner import config


def test_a_training_logs_configuration_losses_metrics_and_card(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    changes = ["max_steps=2", "trainer.log_every_n_steps=1", "logger=wandb", "logger.mode=offline"]
    metrics = train(config(tmp_path, *changes))
    (run,) = runs(tmp_path)
    assert (run.kind, run.group) == ("train", "judge")
    assert run.config["task"]["network"]["dim"] == 32
    assert run.config["max_steps"] == 2
    assert run.history["loss"] > 0
    assert {name: run.history[name] for name in metrics} == pytest.approx(metrics)
    assert run.artifacts["card"]["judge.md"].read_text() == (tmp_path / "judge.md").read_text()
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert b"sk-planted" not in path.read_bytes(), path


def test_a_training_can_log_nothing_beside_its_files(tmp_path: Path):
    train(config(tmp_path, "max_steps=1", "logger=none"))
    assert not list(tmp_path.rglob("metrics.csv"))
    train(config(tmp_path, "max_steps=2", "logger=csv"))
    assert len(list(tmp_path.rglob("logs/*/metrics.csv"))) == 1
