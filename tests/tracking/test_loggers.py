from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from pos.data.video.writing import write_preview
from pos.errors import PosError
from pos.tracking.loggers import Csv, Identity, Wandb, choose_mode
from tests.tracking.conftest import KEY
from tests.tracking.offline import runs


@pytest.fixture
def gif(tmp_path: Path) -> Path:
    path = tmp_path / "a.gif"
    write_preview(path, torch.zeros(4, 3, 16, 16, dtype=torch.uint8))
    return path


def log(logger: Csv | Wandb, folder: Path, gif: Path) -> None:
    result = folder / "result.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text("{}")
    identity = Identity("eta 0.3", "row", folder, {"method": {"eta": 0.3}, "key": "sk-planted"}, "table1")
    with logger.run(identity) as run:
        run.metrics({"fvd": 1.5, "fvd_low": 0.0, "absent": None})
        run.table("side", ["prompt", "baseline", "score"], [["a, b", gif, 1], ["sk-planted", None, 0.5]])
        run.videos([(gif, "a, b")])
        run.files("results", "results", [result])


def test_csv_files_hold_the_numbers_and_a_repeated_run_replaces_its_own(tmp_path: Path, gif: Path):
    for _ in range(2):
        log(Csv(), tmp_path, gif)
    with Csv().run(Identity("other", "row", tmp_path)) as run:
        run.metrics({"fvd": 3.0})
    rows = list(csv.reader((tmp_path / "logs/metrics.csv").open()))
    assert rows[0] == ["run", "metric", "value"]
    assert rows[1:] == [["eta 0.3", "fvd", "1.5"], ["eta 0.3", "fvd_low", "0.0"], ["other", "fvd", "3.0"]]
    assert next(csv.DictReader((tmp_path / "logs/side.csv").open()))["prompt"] == "a, b"


def test_an_offline_run_holds_all_that_was_logged(tmp_path: Path, gif: Path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    log(Wandb(project="p", mode="offline", tags=["t"]), tmp_path / "out", gif)
    (run,) = runs(tmp_path)
    assert (run.project, run.name, run.kind, run.group) == ("p", "eta 0.3", "row", "table1")
    assert run.config["method"] == {"eta": 0.3}
    assert run.config["key"] == "***"
    assert (run.history["fvd"], run.history["fvd_low"]) == (1.5, 0)
    assert "absent" not in run.history
    first, second = run.table("side")
    assert (first["prompt"], first["score"]) == ("a, b", 1)
    assert first["baseline"].read_bytes() == gif.read_bytes()
    assert (second["prompt"], second["baseline"]) == ("***", None)
    assert run.history["video/1"]["caption"] == "a, b"
    assert run.file("video/1").read_bytes() == gif.read_bytes()
    assert run.artifacts["results"]["result.json"].read_text() == "{}"
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert not {text for text in (b"sk-planted", KEY.encode()) if text in path.read_bytes()}, path


def test_a_file_with_a_secret_is_left_out(tmp_path: Path, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    for name, text in {"good.json": "{}", "bad.json": "sk-planted"}.items():
        (tmp_path / name).write_text(text)
    with Wandb(mode="offline").run(Identity("a", "study", tmp_path / "out")) as run:
        run.files("results", "results", [tmp_path / "good.json", tmp_path / "bad.json"])
    (made,) = runs(tmp_path)
    assert set(made.artifacts["results"]) == {"good.json"}
    assert "bad.json contains a secret" in caplog.text


def test_repeated_work_is_the_same_run_and_other_work_another(tmp_path: Path):
    identity = Identity("a", "row", tmp_path, {"eta": 1}, "g")
    assert identity.id == Identity("a", "row", tmp_path, {"eta": 1}, "g").id
    others = [
        Identity("b", "row", tmp_path, {"eta": 1}, "g"),
        Identity("a", "study", tmp_path, {"eta": 1}, "g"),
        Identity("a", "row", tmp_path / "b", {"eta": 1}, "g"),
        Identity("a", "row", tmp_path, {"eta": 2}, "g"),
        Identity("a", "row", tmp_path, {"eta": 1}),
    ]
    assert len({identity.id, *(other.id for other in others)}) == 6
    for _ in range(2):
        with Wandb(mode="offline").run(identity) as run:
            run.metrics({"fvd": 1.0})
    assert {run.id for run in runs(tmp_path)} == {identity.id}


def test_the_agent_of_a_sweep_names_its_run(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_RUN_ID", "run1")
    with Wandb(mode="offline").run(Identity("a", "study", tmp_path)) as run:
        run.metrics({"fvd": 1.0})
    assert [run.id for run in runs(tmp_path)] == ["run1"]


def test_without_a_login_auto_is_offline_and_online_says_what_to_do(tmp_path: Path, monkeypatch):
    assert choose_mode("auto") == "offline"
    with pytest.raises(PosError, match=r"mode=online needs a login of W&B: run `wandb login`"):
        Wandb(mode="online")
    with pytest.raises(PosError, match=r"mode=dryrun is not allowed: choose one of auto, online, offline\."):
        Wandb(mode="dryrun")
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(PosError, match=r"login of W&B cannot be used: .*API key must have 40"):
        choose_mode("auto")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert choose_mode("auto") == choose_mode("online") == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert (choose_mode("auto"), choose_mode("online")) == ("offline", "online")
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    assert choose_mode("auto") == "online"


@pytest.mark.parametrize(
    ("mode", "chosen"), [("disabled", "disabled"), ("dryrun", "offline"), ("run", "online")]
)
def test_a_login_does_not_overrule_the_mode_of_wandb(tmp_path: Path, gif: Path, monkeypatch, mode, chosen):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", mode)
    assert choose_mode("auto") == Wandb().mode == chosen
    assert (choose_mode("online"), choose_mode("offline")) == (
        "online",
        "offline",
    )  # a requested mode counts
    if chosen != "online":
        log(Wandb(project="p"), tmp_path / "out", gif)
        assert len(runs(tmp_path)) == (chosen == "offline")


def test_a_disabled_training_logs_nothing(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb = Wandb()
    lightning = wandb.lightning(Identity("a", "train", tmp_path / "out"))
    lightning.log_metrics({"loss": 1.0})
    wandb.finish(lightning, [])
    assert not runs(tmp_path)


def test_wandb_offline_in_a_folder_counts(tmp_path: Path, monkeypatch):
    """What the command `wandb offline` leaves in the folder where it is given."""
    (tmp_path / "wandb").mkdir(exist_ok=True)
    (tmp_path / "wandb/settings").write_text("[default]\nmode = offline\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert choose_mode("auto") == "offline"


def test_a_mode_that_wandb_does_not_know_is_named(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "of")
    with pytest.raises(PosError, match="WANDB_MODE=of is not allowed: choose one of online, "):
        choose_mode("auto")


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(PosError, match=r"pip install 'pos-t2v\[logging\]'"):
        Wandb()
