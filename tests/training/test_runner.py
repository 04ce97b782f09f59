"""The runner on a tiny judge: weights and card come out, a stopped run goes on, a card is refreshed."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from pos.errors import PosError
from pos.networks.shapes.classifiers import load_classifier
from pos.training.runner import refresh, run_key, train

ROOT = Path(__file__).parents[2]
TINY = [
    "+experiment=shapes/judge",
    "trainer=cpu",
    "workers=0",
    "data.batch_size=2",
    "data.validation=4",
    "data.validation_batch_size=4",
    "task.network.widths=[8,8,8]",
    "task.network.dim=32",
    "task.network.grid=4",
    "task.network.layers=1",
    "ema.every=1",
]


def config(folder: Path, *overrides: str) -> DictConfig:
    paths = [f"out={folder}/runs", f"export={folder}/judge.safetensors"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", overrides=[*TINY, *paths, *overrides])


def test_train_resume_and_refresh(tmp_path, caplog):
    weights, card = tmp_path / "judge.safetensors", tmp_path / "judge.md"
    metrics = train(config(tmp_path, "max_steps=2"))
    assert set(metrics) == {
        f"accuracy {a}" for a in ("shape", "colour", "size", "motion", "background", "texture")
    }
    first = load_classifier(weights)
    assert "- steps: 2\n- samples seen: 4\n" in card.read_text()
    checkpoint = torch.load(next(tmp_path.glob("runs/*/last.ckpt")), weights_only=True)
    averaged = checkpoint["state_dict"]["network.penultimate.1.weight"]
    assert torch.equal(
        first.penultimate[1].weight, averaged.half().float()
    )  # the average is what is exported

    with caplog.at_level(logging.INFO, "pos"):
        train(
            config(tmp_path, "max_steps=5", "workers=1")
        )  # a larger budget goes on; workers change no result
    assert "Resuming from" in caplog.text
    assert "- steps: 5\n- samples seen: 10\n" in card.read_text()
    assert not torch.equal(load_classifier(weights).penultimate[1].weight, first.penultimate[1].weight)

    made = card.read_text()
    card.write_text(made.replace("| accuracy shape |", "| accuracy of yesterday |"))
    refresh(config(tmp_path, "max_steps=5", "refresh=true"))
    assert card.read_text() == made


def test_time_ends_a_run_with_its_learning_rate(tmp_path):
    train(config(tmp_path, "max_minutes=0.04", "max_steps=null"))
    checkpoint = torch.load(next(tmp_path.glob("runs/*/last.ckpt")), weights_only=True)
    assert checkpoint["global_step"] >= 1
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] < 1e-6
    assert (tmp_path / "judge.safetensors").is_file()


def test_results_alone_name_a_run(tmp_path):
    base = run_key(config(tmp_path))
    same = ("workers=7", "max_steps=9", "out=elsewhere", "logger=wandb", "trainer.log_every_n_steps=1")
    other = ("seed=5", "data.batch_size=3", "task.noise=1.0")
    assert {run_key(config(tmp_path, change)) for change in same} == {base}
    assert (
        len(
            {run_key(config(tmp_path, f"+{change}" if "noise" in change else change)) for change in other}
            | {base}
        )
        == 4
    )


def test_no_budget_and_no_accelerator_are_told(tmp_path):
    with pytest.raises(PosError, match="max_steps, max_minutes or both"):
        train(config(tmp_path, "max_steps=null"))
    if not torch.cuda.is_available():
        with pytest.raises(PosError, match=r"gpu.*try trainer=cpu"):
            train(config(tmp_path, "trainer=gpu"))


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path):
    paths = [f"out={tmp_path}/runs", f"export={tmp_path}/judge.safetensors", "checkpoint_minutes=0.02"]
    command = [sys.executable, str(ROOT / "experiments/train.py"), *TINY, *paths]
    run = subprocess.Popen(
        [*command, "max_steps=100000"], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("runs/*/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.2)
    run.send_signal(signal.SIGKILL)
    run.wait()
    reached = torch.load(next(tmp_path.glob("runs/*/last.ckpt")), weights_only=True)["global_step"]
    subprocess.run([*command, f"max_steps={reached + 2}"], cwd=ROOT, check=True)
    assert f"- steps: {reached + 2:,}\n" in (tmp_path / "judge.md").read_text()
