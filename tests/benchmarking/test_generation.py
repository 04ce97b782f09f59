"""The bench of generation, in a small size on the CPU, as it is run at full size on a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ["device=cpu", "steps=2", "repeats=1", "accelerations=[none]", "subject.vae_channels=[32,32]"]
SIZE = ["subject.height=16", "subject.width=24"]
MODELSCOPE = [
    "+subject.network={block_out_channels:[32,64],attention_levels:[true,false],layers_per_block:1,"
    "head_dim:8,cross_attention_dim:24}",
    "subject.frames=2",
]
SCVIDEO = [
    "subject=scvideo",
    "subject.frames=2",
    "subject.network.block_out_channels=[32,64]",
    "subject.network.attention_levels=[true,false]",
    "subject.network.heads=[2,2]",
    "subject.network.layers_per_block=1",
    "subject.network.cross_attention_dim=24",
]
SDXL = [
    "subject=sdxl",
    "subject.network.block_out_channels=[32,64]",
    "subject.network.down_block_types=[DownBlock2D,CrossAttnDownBlock2D]",
    "subject.network.up_block_types=[CrossAttnUpBlock2D,UpBlock2D]",
    "subject.network.layers_per_block=1",
    "subject.network.transformer_layers_per_block=[1,2]",
    "subject.network.attention_head_dim=[2,4]",
    "subject.network.cross_attention_dim=24",
    "subject.network.addition_time_embed_dim=8",
    "subject.network.projection_class_embeddings_input_dim=80",
]


def bench(tmp_path: Path, *overrides: str) -> list[dict]:
    out = tmp_path / "rows.jsonl"
    script = str(ROOT / "experiments" / "bench_generate.py")
    run = subprocess.run(
        [sys.executable, script, *SMALL, *SIZE, *overrides, f"out={out}"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout == out.read_text()
    return [json.loads(line) for line in run.stdout.splitlines()]


def of(rows: list[dict], case: str, **values: object) -> list[dict]:
    return [row for row in rows if row["case"] == case and values.items() <= row.items()]


def test_modelscope_beside_diffusers(tmp_path: Path) -> None:
    rows = bench(tmp_path, *MODELSCOPE, "batches=[1,2]", "precisions=[fp32,bf16]")
    speed = of(rows, "speed")
    assert [(row["who"], row["batch"]) for row in speed] == [
        ("diffusers", 1), ("diffusers", 2), ("none", 1), ("none", 2),
    ]  # fmt: skip
    for theirs, ours in zip(speed[:2], speed[2:], strict=True):
        assert theirs["video_over_diffusers"] == 1
        ratio = ours["latents_seconds_per_video"] / theirs["latents_seconds_per_video"]
        assert ours["latents_over_diffusers"] == pytest.approx(ratio, rel=0.01)
    (ours,) = of(rows, "accuracy", who="none", precision="fp32")
    assert max(ours["forward_error"], ours["latents_error"]) < 1e-5
    (ours,), (theirs,) = (of(rows, "accuracy", who=who, precision="bf16") for who in ("none", "diffusers"))
    assert 1e-4 < ours["forward_error"] < 1.2 * theirs["forward_error"]
    assert [row["who"] for row in of(rows, "profile")] == ["diffusers", "none"]
    assert {row["what"] for row in of(rows, "method")} == {"pos, everything cached", "inversion of a clip"}


@pytest.mark.parametrize(("subject", "who"), [(SCVIDEO, ["none"]), (SDXL, ["diffusers", "none"])])
def test_other_subjects(tmp_path: Path, subject: list[str], who: list[str]) -> None:
    rows = bench(tmp_path, *subject, "batches=[1]", "precisions=[fp32]", "kernels=false", "pos_cost=false")
    assert [row["who"] for row in of(rows, "speed")] == who
    assert all(row["forward_error"] < 1e-5 for row in of(rows, "accuracy"))
    assert {row["case"] for row in rows} == {"card", "speed", "accuracy"}


def test_nothing_to_measure(tmp_path: Path) -> None:
    script = str(ROOT / "experiments" / "bench_generate.py")
    run = subprocess.run(
        [sys.executable, script, *SMALL, "batches=[]", f"out={tmp_path / 'rows.jsonl'}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 2
    assert "batches is empty" in run.stderr
