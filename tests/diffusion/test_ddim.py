"""The sampler and the inverter against closed forms, and against diffusers for v-prediction."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from pos.backbones.base import Conditioning
from pos.diffusion.ddim import Guided, ddim_sigma, invert, sample
from pos.diffusion.levels import Level, LevelTable, ddim_levels
from pos.diffusion.noise import sample_generators
from pos.errors import PosError
from tests.diffusion.analytic import Gaussian, Mixture, flow_levels, normal, relative

SHAPE = (2, 3, 2, 4, 4)
SCALED = {"signal_scale": (1.0, 0.3, 400)}


def table_of(prediction: str, steps: int, **settings) -> LevelTable:
    return (
        flow_levels(steps) if prediction == "flow" else ddim_levels(steps, prediction=prediction, **settings)
    )


@pytest.mark.parametrize(
    ("prediction", "settings"), [("epsilon", {}), ("epsilon", SCALED), ("v", {}), ("flow", {})]
)
def test_sampling_converges_to_the_gaussian_flow_at_first_order(prediction: str, settings: dict) -> None:
    denoiser = Gaussian(0.7, 0.5, prediction)
    eps = normal(1, *SHAPE)
    errors = []
    for steps in (50, 100, 200):
        table = table_of(prediction, steps, **settings)
        exact = denoiser.transport(eps, table[steps], table[0])
        errors.append(relative(sample(denoiser, eps, table), exact))
    assert errors[0] < 0.05
    for coarse, fine in pairwise(errors):
        assert 1.7 < coarse / fine < 2.4, errors


@pytest.mark.parametrize("method", ["next", "printed"])
@pytest.mark.parametrize("prediction", ["epsilon", "v", "flow"])
def test_explicit_inversion_converges_to_the_gaussian_flow_at_first_order(
    method: str, prediction: str
) -> None:
    denoiser = Gaussian(0.7, 0.5, prediction)
    clean = 0.7 + 0.5 * normal(2, *SHAPE)
    errors = []
    for steps in (50, 100, 200):
        table = table_of(prediction, steps)
        exact = denoiser.transport(clean, table[0], table[steps])
        errors.append(relative(invert(denoiser, clean, table, method=method).noise, exact))
    for coarse, fine in pairwise(errors):
        assert 1.6 < coarse / fine < 2.5, errors


def test_sampling_keeps_the_quantiles_of_a_mixture() -> None:
    """In one dimension the ODE is monotone, so every sample stays at its quantile, whatever the schedule."""
    denoiser, table = Mixture([-2.0, 0.5, 3.0], 0.3), ddim_levels(500)
    eps = normal(3, 1, 400)
    clean = sample(denoiser, eps, table)
    expected = denoiser.quantile(eps, table[500])
    torch.testing.assert_close(denoiser.quantile(clean, table[0]), expected, atol=0.02, rtol=0)
    assert float((denoiser.quantile(eps, table[0]) - expected).abs().max()) > 0.2


@pytest.mark.parametrize(
    ("prediction", "settings"), [("epsilon", {}), ("epsilon", SCALED), ("v", {}), ("flow", {})]
)
def test_fixed_point_is_the_inverse_of_sampling(prediction: str, settings: dict) -> None:
    denoiser, table = Gaussian(0.7, 0.3, prediction), table_of(prediction, 50, **settings)
    clean = 0.7 + 0.3 * normal(4, *SHAPE)
    fixed = invert(denoiser, clean, table, method="fixed_point", tolerance=1e-10, iterations=60)
    assert relative(sample(denoiser, fixed.noise, table), clean) < 1e-8
    assert float(fixed.residual.max()) <= 1e-10
    explicit = invert(denoiser, clean, table)
    assert relative(sample(denoiser, explicit.noise, table), clean) > 1e-3


def test_fixed_point_reaches_one_millionth_in_a_handful_of_evaluations() -> None:
    denoiser, table = Mixture([-1.0, 0.0, 1.5], 0.5), ddim_levels(50)
    clean = sample(denoiser, normal(5, *SHAPE, dtype=torch.float32), table)
    fixed = invert(denoiser, clean, table, method="fixed_point")
    errors = {
        method: relative(sample(denoiser, invert(denoiser, clean, table, method=method).noise, table), clean)
        for method in ("next", "printed")
    }
    assert relative(sample(denoiser, fixed.noise, table), clean) < 2e-6
    assert fixed.evaluations <= 8 * 50
    assert fixed.residual.shape == (2,)
    assert float(fixed.residual.max()) <= 1e-6
    assert all(1e-3 < error < 0.2 for error in errors.values()), errors


def test_fixed_point_that_does_not_converge_says_so() -> None:
    def steep(x: Tensor, _level: Level, _index: int) -> Tensor:
        return torch.cat([torch.sin(40 * x[:1]), 0.1 * x[1:]])

    fixed = invert(steep, normal(6, *SHAPE), ddim_levels(5), method="fixed_point")
    assert float(fixed.residual[0]) > 1e-2
    assert float(fixed.residual[1]) <= 1e-6


def test_a_converged_sample_does_not_depend_on_its_batch() -> None:
    denoiser, table = Mixture([-1.0, 0.0, 1.5], 0.2), ddim_levels(10)
    easy, hard = normal(7, 1, 3, 2, 4, 4), 3 * normal(8, 1, 3, 2, 4, 4)
    alone = invert(denoiser, easy, table, method="fixed_point")
    together = invert(denoiser, torch.cat([easy, hard]), table, method="fixed_point")
    assert together.evaluations > alone.evaluations
    assert torch.equal(together.noise[:1], alone.noise)


def test_methods_ask_the_levels_they_are_named_for() -> None:
    asked: list[tuple[float, int]] = []

    def spy(x: Tensor, level: Level, index: int) -> Tensor:
        asked.append((level.timestep, index))
        return 0.1 * x

    table, clean = ddim_levels(4), normal(9, *SHAPE)
    for method, timesteps in (("next", [1, 251, 501, 751]), ("printed", [0, 1, 251, 501])):
        asked.clear()
        assert invert(spy, clean, table, method=method).residual is None
        assert asked == list(zip(timesteps, [3, 2, 1, 0], strict=True))
    asked.clear()
    sample(spy, clean, table)
    assert asked == [(751, 0), (501, 1), (251, 2), (1, 3)]


def test_v_prediction_samples_as_diffusers_does() -> None:
    from diffusers import DDIMScheduler

    oracle = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        set_alpha_to_one=False,
        steps_offset=1,
        clip_sample=False,
        prediction_type="v_prediction",
    )
    denoiser, table = Gaussian(0.2, 0.6, "v"), ddim_levels(10, prediction="v")
    by_timestep = {level.timestep: level for level in table.levels}
    oracle.set_timesteps(10)
    latents = start = normal(10, *SHAPE)
    for timestep in oracle.timesteps:
        raw = denoiser(latents, by_timestep[float(timestep)])
        latents = oracle.step(raw, timestep, latents).prev_sample
    assert relative(sample(denoiser, start, table), latents) < 1e-5


@pytest.mark.parametrize("prediction", ["v", "flow"])
@pytest.mark.parametrize("method", ["next", "printed", "fixed_point"])
def test_inversion_does_not_depend_on_what_the_network_predicts(prediction: str, method: str) -> None:
    """Eq. 2 speaks of eps: v and flow are first turned into the eps of the level that was asked about."""
    clean = normal(11, *SHAPE)
    noises = [
        invert(Gaussian(0.2, 0.6, kind), clean, ddim_levels(10, prediction=kind), method=method).noise
        for kind in ("epsilon", prediction)
    ]
    assert relative(*noises) < 1e-5


def test_ancestral_sampling_has_the_statistics_of_the_data() -> None:
    denoiser, table = Gaussian(0.5, 0.8), ddim_levels(100)
    ids = [str(k) for k in range(64)]
    generators = sample_generators(ids, [0] * 64, stream="ddim")
    clean = sample(denoiser, normal(12, 64, 3, 2, 4, 4), table, ddim_eta=1.0, generators=generators)
    assert float(clean.mean()) == pytest.approx(0.5, abs=0.05)
    assert float(clean.std()) == pytest.approx(0.8, abs=0.05)


def test_stochastic_noise_belongs_to_the_sample() -> None:
    denoiser, table, eps = Gaussian(0.5, 0.8), ddim_levels(5), normal(13, *SHAPE)

    def run(rows: list[int]) -> Tensor:
        generators = sample_generators([str(row) for row in rows], [0] * len(rows))
        return sample(denoiser, eps[rows], table, ddim_eta=0.5, generators=generators)

    assert torch.equal(run([0, 1])[1], run([1])[0])
    assert not torch.equal(run([0, 1]), sample(denoiser, eps, table))


def test_sigma_at_eta_1_is_the_posterior_of_ddpm() -> None:
    for steps in (5, 50):
        table = ddim_levels(steps)
        for level, target in zip(table.levels[1:], table.levels[:-1], strict=True):
            beta = 1 - level.signal**2 / target.signal**2
            assert ddim_sigma(level, target, 1.0) ** 2 == pytest.approx(
                target.noise**2 / level.noise**2 * beta
            )
            assert ddim_sigma(level, target, 0.0) == 0


class Linear:
    """A network that shows what it was given: its output is the conditioning, and it counts batch sizes."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, latents: Tensor, _level: Level, conditioning: Conditioning) -> Tensor:
        self.batches.append(len(latents))
        return latents + conditioning.tensors["text"].view(-1, 1, 1, 1, 1)


def conditions(*values: float) -> Conditioning:
    return Conditioning({"text": torch.tensor(values)})


def test_guidance_runs_both_passes_as_one_batch() -> None:
    network, latents = Linear(), normal(14, *SHAPE, dtype=torch.float32)
    swapped = {0: conditions(1, 2), 1: conditions(5, 6)}
    guided = Guided(network, swapped.__getitem__, conditions(10, 20), scale=3.0)
    for index, (first, second) in enumerate([(10 + 3 * -9, 20 + 3 * -18), (10 + 3 * -5, 20 + 3 * -14)]):
        shift = guided(latents, Level(1, 1, 1), index) - latents
        torch.testing.assert_close(shift[0], torch.full_like(shift[0], first), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(shift[1], torch.full_like(shift[1], second), rtol=1e-5, atol=1e-5)
    assert network.batches == [4, 4]
    assert guided.evaluations == 4


def test_scale_1_runs_no_unconditional_pass() -> None:
    network, latents = Linear(), normal(15, *SHAPE, dtype=torch.float32)
    guided = Guided(network, lambda _: conditions(1, 2), conditions(10, 20))
    assert torch.equal(guided(latents, Level(1, 1, 1), 0)[0], latents[0] + 1)
    assert network.batches == [2]
    assert guided.evaluations == 1


def test_nan_latents_name_the_step() -> None:
    def breaks(x: Tensor, _level: Level, index: int) -> Tensor:
        return x * math.nan if index == 2 else 0.1 * x

    with pytest.raises(PosError, match="denoising step 3 of 5"):
        sample(breaks, normal(16, *SHAPE), ddim_levels(5))
    for method in ("next", "printed", "fixed_point"):
        with pytest.raises(PosError, match="inversion step 3 of 5"):
            invert(breaks, normal(16, *SHAPE), ddim_levels(5), method=method)


def test_progress_sees_every_step() -> None:
    seen: list[int] = []

    def progress(steps):
        for step in steps:
            seen.append(step)
            yield step

    denoiser, table = Gaussian(0, 1), ddim_levels(3)
    sample(denoiser, normal(17, *SHAPE), table, progress=progress)
    invert(denoiser, normal(17, *SHAPE), table, progress=progress)
    assert seen == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda d, x, t: sample(d, x, t, ddim_eta=-0.1), "ddim_eta=-0.1"),
        (lambda d, x, t: sample(d, x, t, ddim_eta=math.nan), "ddim_eta=nan"),
        (lambda d, x, t: sample(d, x, t, ddim_eta=0.5), "give 2 generators, got 0"),
        (lambda d, x, t: invert(d, x, t, method="exact"), "inversion='exact'"),
        (lambda d, x, t: invert(d, x, t, method="fixed_point", iterations=1), "iterations=1"),
    ],
)
def test_bad_settings_are_refused(call, named: str) -> None:
    with pytest.raises(PosError, match=named):
        call(Gaussian(0, 1), normal(18, *SHAPE), ddim_levels(2))


@pytest.mark.parametrize(
    ("unconditional", "scale", "named"),
    [(conditions(0), math.nan, "guidance=nan"), (None, 2.0, "unconditional")],
)
def test_bad_guidance_is_refused(unconditional: Conditioning | None, scale: float, named: str) -> None:
    with pytest.raises(PosError, match=named):
        Guided(Linear(), lambda _: conditions(1), unconditional, scale)
