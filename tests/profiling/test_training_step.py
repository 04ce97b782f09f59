"""The cost of a training step, measured on a tiny network and on the meta device at full size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from pos.errors import PosError
from pos.networks.inflated.scvideo import InflatedUNet
from pos.profiling.training_step import measure_step

ROOT = Path(__file__).parents[2]
SIZE = {"frames": 2, "height": 16, "width": 16, "tokens": 3, "batch_size": 2, "steps": 2, "seed": 0}
PLACE = {"device": "cpu", "precision": "bf16"}


def tiny() -> InflatedUNet:
    return InflatedUNet(4, (8, 8), (True, False), 1, (2, 2), 12, groups=4, gradient_checkpointing=True)


def test_trains_the_subset_and_counts_it() -> None:
    made = []
    cost = measure_step(lambda: made.append(tiny()) or made[0], subset="scvideo", **SIZE, **PLACE)
    fresh, trained = tiny(), made[0]
    torch.manual_seed(0)
    wanted = sum(parameter.numel() for parameter in fresh.trainable_parameters("scvideo"))
    assert cost["trained_parameters"] == wanted < cost["parameters"]
    assert cost["latents"] == (2, 4, 2, 2, 2)
    assert 0 < cost["seconds"] <= cost["first_seconds"] + 1
    assert cost["peak_memory_gib"] > 0
    assert cost["loss"] == pytest.approx(1.0, abs=0.9)
    zero = trained.mid_block.attentions[0].transformer_blocks[0].attn_temp1.to_out[0].weight
    assert zero.abs().max() > 0  # a step was taken


def test_needs_a_step() -> None:
    with pytest.raises(PosError, match="steps=0"):
        measure_step(tiny, subset="all", **{**SIZE, "steps": 0}, **PLACE)


def test_the_configured_sizes() -> None:
    counts = {}
    for name in ("scvideo_small", "scvideo_sd14"):
        with torch.device("meta"):
            unet = instantiate(OmegaConf.load(ROOT / "conf" / "network" / f"{name}.yaml"))
        counts[name] = sum(parameter.numel() for parameter in unet.parameters())
    assert counts["scvideo_small"] <= 4_000_000
    assert counts["scvideo_sd14"] > 859_520_964  # Stable Diffusion 1.4's, and the new layers


def test_the_command_prints_json() -> None:
    arguments = [
        "network=scvideo_small", "frames=2", "height=16", "width=16", "tokens=3", "steps=1",
        "device=cpu", "precision=fp32",
    ]  # fmt: skip
    script = ROOT / "experiments" / "bench_scvideo.py"
    result = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert json.loads(result.stdout)["subset"] == "scvideo"
