"""The bench of generation, in a small size on the CPU, as it is run at full size on a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pos.errors import PosError
from pos.profiling.generation import GenerationBench, bench_generate
from pos.profiling.subjects import ModelScope, SCVideo, StableDiffusionXL, Subject

ROOT = Path(__file__).parents[2]
SIZE = {"vae_channels": [32, 32], "height": 16, "width": 24, "guidance": 9.0}
LEVELS = {"block_out_channels": [32, 64], "layers_per_block": 1, "cross_attention_dim": 24}
ATTENDS = {"attention_levels": [True, False]}
PLAN = GenerationBench(
    accelerations=["none"], batches=[1], precisions=["fp32"], steps=2, repeats=1, accuracy=True,
    kernels=False, pos_cost=False, seed=0,
)  # fmt: skip


def scvideo() -> Subject:
    return SCVideo({"in_channels": 4, "heads": [2, 2], **LEVELS, **ATTENDS}, frames=2, **SIZE)


def sdxl() -> Subject:
    network = {
        **LEVELS,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2],
        "attention_head_dim": [2, 4],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 80,
    }
    return StableDiffusionXL(network, frames=1, **SIZE)


def of(rows: list[dict[str, Any]], case: str, **values: object) -> list[dict[str, Any]]:
    return [row for row in rows if row["case"] == case and values.items() <= row.items()]


@pytest.mark.slow
def test_the_command_on_modelscope(tmp_path: Path) -> None:
    network = "{block_out_channels:[32,64],attention_levels:[true,false],layers_per_block:1,head_dim:8}"
    arguments = [
        "device=cpu", "steps=2", "repeats=1", "accelerations=[none]", "batches=[1,2]",
        "precisions=[fp32,bf16]", f"+model.network={network}", "model.frames=2",
        "+model.network.cross_attention_dim=24",
        "model.vae_channels=[32,32]", "model.height=16", "model.width=24",
        f"out={tmp_path / 'rows.jsonl'}",
    ]  # fmt: skip
    script = str(ROOT / "experiments" / "bench_generate.py")
    run = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == (tmp_path / "rows.jsonl").read_text()
    rows = [json.loads(line) for line in run.stdout.splitlines()]

    speed = of(rows, "speed")
    assert [(row["who"], row["batch"]) for row in speed] == [
        ("diffusers", 1), ("diffusers", 2), ("none", 1), ("none", 2),
    ]  # fmt: skip
    for theirs, ours in zip(speed[:2], speed[2:], strict=True):
        assert theirs["video_over_diffusers"] == 1
        ratio = ours["latents_seconds_per_video"] / theirs["latents_seconds_per_video"]
        assert ours["latents_over_diffusers"] == pytest.approx(ratio, rel=0.01)
    (exact,) = of(rows, "accuracy", who="none", precision="fp32")
    assert max(exact["forward_error"], exact["latents_error"]) < 1e-5
    ours, theirs = (of(rows, "accuracy", who=who, precision="bf16")[0] for who in ("none", "diffusers"))
    assert 1e-4 < ours["forward_error"] < 1.2 * theirs["forward_error"]
    assert [row["who"] for row in of(rows, "profile")] == ["diffusers", "none"]
    assert {row["what"] for row in of(rows, "method")} == {"pos, everything cached", "inversion of a clip"}


@pytest.mark.parametrize(("subject", "who"), [(scvideo, ["none"]), (sdxl, ["diffusers", "none"])])
def test_other_subjects(subject: Any, who: list[str]) -> None:
    rows = list(bench_generate(subject(), PLAN, "cpu"))
    assert [row["case"] for row in rows] == ["card", *["speed", "accuracy"] * len(who)]
    assert [row["who"] for row in of(rows, "speed")] == who
    assert all(row["forward_error"] < 1e-5 for row in of(rows, "accuracy"))


def test_only_what_is_asked_for() -> None:
    rows = list(bench_generate(scvideo(), replace(PLAN, accuracy=False), "cpu"))
    assert [row["case"] for row in rows] == ["card", "speed"]


def test_the_weights_of_diffusers_are_ours() -> None:
    subject = ModelScope({**LEVELS, **ATTENDS, "head_dim": 8}, frames=2, **SIZE)
    network = subject.build_network()
    theirs = subject.pipeline(network, subject.build_vae()).pipeline.unet.state_dict()
    assert all(tensor.equal(theirs[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("values", "told"), [({"batches": []}, "batches is empty"), ({"steps": 0}, "steps")])
def test_nothing_to_measure(values: dict[str, Any], told: str) -> None:
    with pytest.raises(PosError, match=told):
        replace(PLAN, **values)
