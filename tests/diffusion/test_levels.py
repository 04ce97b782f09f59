"""Level tables: an off-by-one is invisible in a reconstruction error, so the tables themselves are tested."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pos.diffusion.levels import (
    Level,
    LevelTable,
    Schedule,
    add_noise,
    alphas_cumprod,
    ddim_levels,
    shifted,
)
from pos.errors import PosError
from tests.diffusion.analytic import normal, raw_output


def test_modelscope_levels_at_50_steps() -> None:
    table = ddim_levels(50)
    assert table.steps == 50
    assert [level.timestep for level in table.levels] == [0, *range(1, 982, 20)]
    assert table[0].signal ** 2 == pytest.approx(0.99915, abs=1e-6)
    assert table[1].signal ** 2 == pytest.approx(0.9982960, abs=1e-6)


@pytest.mark.parametrize("schedule", ["scaled_linear", "linear"])
@pytest.mark.parametrize("steps", [1, 4, 7, 30, 1000])
def test_levels_agree_with_diffusers(schedule: str, steps: int) -> None:
    from diffusers import DDIMScheduler

    offset = 0 if steps == 1000 else 1
    oracle = DDIMScheduler(
        1000, 0.00085, 0.012, schedule, steps_offset=offset, set_alpha_to_one=False, clip_sample=False
    )
    oracle.set_timesteps(steps)
    table = ddim_levels(steps, schedule=schedule, offset=offset)
    assert [level.timestep for level in table.levels[:0:-1]] == oracle.timesteps.tolist()
    abar = oracle.alphas_cumprod[oracle.timesteps.flip(0)]
    assert [level.signal**2 for level in table.levels[1:]] == pytest.approx(abar.tolist(), rel=1e-4)
    assert table[0].signal ** 2 == pytest.approx(float(oracle.final_alpha_cumprod), rel=1e-6)


@given(
    st.integers(1, 500),
    st.sampled_from(["scaled_linear", "linear"]),
    st.sampled_from(["first", "one"]),
    st.sampled_from([None, (1.0, 0.3, 400), (1.0, 0.7, 400)]),
)
def test_levels_are_ordered_and_variance_preserving_up_to_the_signal_scale(
    steps: int, schedule: str, final_alpha: str, scale: tuple | None
) -> None:
    table = ddim_levels(steps, schedule=schedule, final_alpha=final_alpha, signal_scale=scale)
    plain = ddim_levels(steps, schedule=schedule, final_alpha=final_alpha)
    assert len(table.levels) == steps + 1
    noises = [level.noise for level in table.levels]
    assert noises == sorted(noises)
    for level, unscaled in zip(table.levels, plain.levels, strict=True):
        assert unscaled.signal**2 + unscaled.noise**2 == pytest.approx(1, abs=1e-12)
        assert level.noise == unscaled.noise
        assert level.signal <= unscaled.signal
    assert (table[0].signal == 1.0) is (final_alpha == "one")


def test_the_signal_scale_goes_down_linearly_and_stays() -> None:
    scaled, plain = (ddim_levels(1000, offset=0, signal_scale=s) for s in ((1.0, 0.3, 400), None))
    factors = [a.signal / b.signal for a, b in zip(scaled.levels, plain.levels, strict=True)][1:]
    assert factors[0] == 1
    assert factors[133] == pytest.approx(1 - 0.7 * 133 / 399)
    assert factors[399:] == pytest.approx([0.3] * 601)


def test_videocrafter_runs_extra_steps_where_the_number_does_not_divide() -> None:
    assert [level.timestep for level in ddim_levels(6, spacing="videocrafter").levels[1:]] == list(
        range(1, 1000, 166)
    )
    assert ddim_levels(30, spacing="videocrafter").steps == 31
    assert ddim_levels(50, spacing="videocrafter") == ddim_levels(50)


@given(
    st.sampled_from(["epsilon", "v", "flow"]),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
)
def test_split_undoes_every_prediction(prediction: str, signal: float, noise: float) -> None:
    level = Level(1, signal, noise)
    table = LevelTable((Level(0, 1, 0), level), prediction)
    x0, eps = normal(1, 2, 3), normal(2, 2, 3)
    latents = signal * x0 + noise * eps
    got_x0, got_eps = table.split(raw_output(prediction, x0, eps, level), latents, level)
    torch.testing.assert_close(got_x0, x0, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(got_eps, eps, rtol=1e-8, atol=1e-8)


def test_flow_splits_at_pure_noise() -> None:
    table = LevelTable((Level(0, 1, 0), Level(1, 0, 1)), "flow")
    x0, eps = normal(1, 2, 3), normal(2, 2, 3)
    got_x0, got_eps = table.split(eps - x0, eps, table[1])
    torch.testing.assert_close(got_x0, x0)
    torch.testing.assert_close(got_eps, eps)


def test_add_noise_is_the_level_of_its_timestep() -> None:
    x0, eps = normal(1, 3, 2, 4, 4, 4), normal(2, 3, 2, 4, 4, 4)
    noisy = add_noise(x0, eps, torch.tensor([0, 500, 999]), alphas_cumprod())
    for row, level in enumerate(ddim_levels(1000, offset=0)[k] for k in (1, 501, 1000)):
        torch.testing.assert_close(noisy[row], level.signal * x0[row] + level.noise * eps[row])
    assert (
        add_noise(x0.float(), eps.float(), torch.tensor([1, 2, 3]), alphas_cumprod()).dtype == torch.float32
    )


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"steps": 0}, "steps=0"),
        ({"steps": 1001}, "steps=1001"),
        ({"steps": 1000}, "timestep 1000"),
        ({"steps": 3, "spacing": "videocrafter"}, "timestep 1000"),
        ({"steps": 5, "spacing": "trailing"}, "trailing"),
        ({"steps": 5, "schedule": "cosine"}, "cosine"),
        ({"steps": 5, "final_alpha": "zero"}, "zero"),
        ({"steps": 5, "prediction": "sample"}, "sample"),
        ({"steps": 5, "signal_scale": (1.0, 0.0, 400)}, "signal_scale"),
    ],
)
def test_impossible_tables_are_refused(settings: dict, named: str) -> None:
    with pytest.raises(PosError, match=named):
        ddim_levels(**settings)


def test_noise_prediction_at_pure_noise_is_refused() -> None:
    with pytest.raises(PosError, match="signal above 0"):
        LevelTable((Level(0, 1, 0), Level(1, 0, 1)), "epsilon")
    with pytest.raises(PosError, match="at least one step"):
        LevelTable((Level(0, 1, 0),), "flow")


@pytest.mark.parametrize("shift", [0.15, 1.0, 3.0])
def test_a_shift_multiplies_the_ratio_of_signal_to_noise(shift: float) -> None:
    plain, moved = alphas_cumprod(), shifted(alphas_cumprod(), shift)
    torch.testing.assert_close(moved / (1 - moved), shift**2 * plain / (1 - plain))
    level, own = ddim_levels(50)[20], ddim_levels(50, shift=shift)[20]
    assert own.signal / own.noise == pytest.approx(shift * level.signal / level.noise)
    assert own.signal**2 + own.noise**2 == pytest.approx(1.0)


@pytest.mark.parametrize("shift", [0.0, -1.0, float("inf"), float("nan")])
def test_a_shift_is_a_positive_factor(shift: float) -> None:
    with pytest.raises(PosError, match="shift="):
        ddim_levels(10, shift=shift)


def test_quadratic_steps_are_squares_from_the_first_to_the_last_timestep() -> None:
    timesteps = [level.timestep for level in ddim_levels(10, spacing="quadratic").levels[1:]]
    assert timesteps == [round(1 + 998 * (k / 9) ** 2) for k in range(10)]
    assert [level.timestep for level in ddim_levels(1, spacing="quadratic").levels[1:]] == [999]


@given(st.integers(1, 400))
def test_quadratic_steps_are_distinct_and_rise(steps: int) -> None:
    timesteps = [level.timestep for level in ddim_levels(steps, spacing="quadratic").levels[1:]]
    assert timesteps == sorted(set(timesteps))
    assert timesteps[-1] == 999


def test_training_draws_timesteps_as_dense_as_the_steps() -> None:
    schedule = Schedule(spacing="quadratic")
    drawn = schedule.timesteps((torch.arange(10_000) + 0.5) / 10_000).double()
    steps = torch.tensor([level.timestep for level in schedule.levels(50).levels[1:]])
    for limit in (100, 400, 800):
        assert (drawn < limit).double().mean().item() == pytest.approx(
            (steps < limit).double().mean().item(), abs=0.03
        )
    places = torch.tensor([0.0, 0.25, 0.9999])
    assert Schedule().timesteps(places).tolist() == [0, 250, 999]
    assert schedule.timesteps(places).tolist() == [0, 62, 999]


def test_a_schedule_says_at_once_what_is_not_possible() -> None:
    with pytest.raises(PosError, match="spacing='cubic'"):
        Schedule(spacing="cubic")  # type: ignore[arg-type]
