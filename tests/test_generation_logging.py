"""What is logged of generated videos."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pos.errors import PosError
from pos.generation import log_generation
from tests.known import known_provenance
from tests.tracking.recorder import Recorder


def write_video(folder: Path, stem: str, prompt: str, eta: float, evaluations: int) -> Path:
    """The files that ``pos.generation`` writes of a video, and the path of its provenance."""
    (folder / f"{stem}.gif").write_bytes(b"video")
    known = known_provenance()
    settings = replace(known.settings, method=replace(known.settings.method, eta=eta))
    provenance = replace(
        known, prompt=prompt, seed=int(stem[-1]), evaluations=evaluations, settings=settings, eta=eta
    )
    path = folder / f"{stem}.json"
    path.write_text(json.dumps(provenance.to_json()))
    return path


def test_only_the_videos_of_this_command_are_logged_in_their_order(tmp_path: Path):
    """The folder also has a video of an earlier command, of another prompt and method."""
    write_video(tmp_path, "0000-a-green-cube-s0", "a green cube", 1.0, 99)
    paths = [
        write_video(tmp_path, f"{index:04d}-{prompt}-s{seed}", prompt, 0.5, 10 * (1 + 2 * index + seed))
        for index, prompt in enumerate(("red", "blue"))
        for seed in (0, 1)
    ]
    cfg = OmegaConf.create({"out": str(tmp_path), "prompt": "red"})
    recorder = Recorder()
    values = log_generation(recorder, cfg, paths)
    assert (values["videos"], values["evaluations"]) == (4, 25)
    assert log_generation(None, cfg, paths) == values
    identity = recorder.identities[tmp_path.name]
    assert (identity.kind, identity.config["prompt"], identity.config["eta"]) == ("generate", "red", 0.5)
    columns, lines = recorder.tables["generated"]
    assert columns == [
        "prompt", "rewritten prompt", "retrieved", "seed", "eta", "eta weight", "gamma", "video",
    ]  # fmt: skip
    assert [line[:4] for line in lines] == [
        [prompt, "blue ring", "a wall of red paint", seed] for prompt in ("red", "blue") for seed in (0, 1)
    ]
    assert recorder.shown[tmp_path.name][1] == ("0000-red-s1.gif", "red")
    assert recorder.artifacts == {"manifest provenance": [path.name for path in paths]}


def test_a_damaged_provenance_is_named(tmp_path: Path):
    path = tmp_path / "0000-red-s0.json"
    path.write_text("{}")
    with pytest.raises(PosError, match=r"0000-red-s0\.json is damaged"):
        log_generation(None, OmegaConf.create({"out": str(tmp_path)}), [path])
