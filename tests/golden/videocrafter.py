"""VideoCrafter's DDIM tables against ours: timesteps, abar, added noise, signal scale."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from pos.diffusion.ddim import ddim_sigma
from pos.diffusion.levels import LevelTable, ddim_levels
from pos.errors import PosError
from tests.golden.recordings import Case, Recording

SCHEDULE = re.compile(r"linspace\(([\d.e-]+)\*\*\.5, ([\d.e-]+)\*\*\.5, (\d+)")


def table_cases(recording: Recording) -> Iterator[Case]:
    for name, expected in recording.info["tables"].items():
        yield Case(f"table-{name}", partial(check_table, name, expected))


def check_table(name: str, expected: dict[str, Any]) -> None:
    steps, eta = re.fullmatch(r"S(\d+)(?:_eta([\d.]+))?", name).groups()
    if "error" in expected:
        with pytest.raises(PosError, match=f"steps={steps} "):
            ddim_levels(int(steps), spacing="videocrafter")
        return
    table = ddim_levels(int(steps), spacing="videocrafter")
    compare(table, expected["timesteps"], expected["alphas"], expected["alphas_prev"])
    compare_sigmas(table, expected["sigmas"], float(eta))


def sampler_table_cases(recording: Recording) -> Iterator[Case]:
    for name in recording.info["scenarios"]:
        yield Case(f"table-{name}", partial(check_scenario, recording, name))


def check_scenario(recording: Recording, name: str) -> None:
    scenario = recording.info["scenarios"][name]
    table = levels(recording.info, scenario["S"])
    ones = [1.0] * table.steps
    compare(
        table,
        scenario["ddim_timesteps"],
        scenario["ddim_alphas"],
        scenario["ddim_alphas_prev"],
        scenario.get("ddim_scale_arr", ones),
        scenario.get("ddim_scale_arr_prev", ones),
    )
    compare_sigmas(table, scenario["ddim_sigmas"], scenario["eta"])


def levels(info: dict[str, Any], steps: int) -> LevelTable:
    """The level table of a VideoCrafter recording: its schedule, and its signal scale where it has one."""
    beta_start, beta_end, train_timesteps = SCHEDULE.search(info["schedule"]).groups()
    wrap = info["wrap"]
    scale = (1.0, wrap.get("scale_b", 0.3), 400) if wrap.get("use_scale") else None
    return ddim_levels(
        steps,
        train_timesteps=int(train_timesteps),
        beta_start=float(beta_start),
        beta_end=float(beta_end),
        spacing="videocrafter",
        signal_scale=scale,
    )


def compare(
    table: LevelTable,
    timesteps: list[int],
    alphas: list[float],
    alphas_prev: list[float],
    scales: list[float] | None = None,
    scales_prev: list[float] | None = None,
) -> None:
    """A table against the original's lists, least noisy step first; theirs went through float32."""
    ones = [1.0] * len(timesteps)
    assert [level.timestep for level in table.levels[1:]] == timesteps
    for part, abar, scale in (
        (table.levels[1:], alphas, scales or ones),
        (table.levels[:-1], alphas_prev, scales_prev or ones),
    ):
        assert [1 - level.noise**2 for level in part] == pytest.approx(abar, abs=2e-7)
        signals = [a**0.5 * s for a, s in zip(abar, scale, strict=True)]
        assert [level.signal for level in part] == pytest.approx(signals, abs=2e-7)


def compare_sigmas(table: LevelTable, sigmas: list[float], ddim_eta: float) -> None:
    pairs = zip(table.levels[1:], table.levels[:-1], strict=True)
    assert [ddim_sigma(level, target, ddim_eta) for level, target in pairs] == pytest.approx(sigmas, abs=2e-6)
