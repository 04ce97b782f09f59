"""Moments and leak against closed forms."""

import math

import pytest
import torch

from pos.diffusion.levels import Level
from pos.errors import PosError
from pos.ona.moments import BANDS, Moments

SHAPE = (2, 4, 4, 4)


def white(mean: float, std: float, count: int = 4000) -> Moments:
    """Of independent normal latents."""
    generator = torch.Generator().manual_seed(0)
    latents = mean + std * torch.randn(count, *SHAPE, generator=generator)
    return Moments.of(latents.split(1000))


def test_white_latents_have_their_mean_and_a_flat_spectrum():
    moments = white(0.3, 2.0)
    assert moments.count == 4000
    assert moments.mean.mean() == pytest.approx(0.3, abs=0.02)
    assert moments.power.mean() == pytest.approx(4, rel=0.01)
    assert moments.power.std() < 0.1 * 4


def test_the_leak_is_the_divergence_of_two_gaussians():
    level = Level(999, 0.2, math.sqrt(1 - 0.2**2))
    variance = 0.2**2 * 4 + level.noise**2
    count = math.prod(SHAPE)
    expected = count * ((variance - 1 - math.log(variance)) / 2 + 0.2**2 * 0.3**2 / 2)
    exact = Moments(
        torch.full(SHAPE, 0.3, dtype=torch.float64), torch.full(SHAPE, 4.0, dtype=torch.float64), 2
    )
    assert exact.leak(level) == pytest.approx(expected, rel=1e-12)
    assert white(0.3, 2.0).leak(level) == pytest.approx(expected, rel=0.05)


def test_nothing_leaks_without_a_signal():
    assert white(0.3, 2.0).leak(Level(1000, 0.0, 1.0)) == 0


def test_unit_latents_leak_nothing_at_unit_power():
    exact = Moments(torch.zeros(SHAPE, dtype=torch.float64), torch.ones(SHAPE, dtype=torch.float64), 2)
    assert exact.leak(Level(999, 0.6, 0.8)) == pytest.approx(0, abs=1e-12)


def test_still_clips_leak_in_the_lowest_band_and_fast_ones_in_the_highest():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(500, 2, 1, 1, 1, generator=generator).expand(500, *SHAPE)
    flips = torch.tensor([1.0, -1.0, 1.0, -1.0]).view(4, 1, 1)
    level = Level(999, 0.2, math.sqrt(1 - 0.2**2))
    for latents, band in ((values, BANDS[0]), (values * flips, BANDS[-1])):
        found = Moments.of([latents]).leak_by_band(level)
        # Where nothing varies the variance is s^2 alone, whose divergence is small but not 0.
        assert max(found, key=found.get) == band
        assert sum(found.values()) == pytest.approx(Moments.of([latents]).leak(level))


def test_the_start_has_the_moments_of_the_noised_clips():
    level = Level(999, 0.5, math.sqrt(1 - 0.5**2))
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(-1, 1, 4).view(1, 1, 1, 4)
    clips = 0.5 + torch.randn(4000, 2, 1, 1, 1, generator=generator) * ramp.expand(SHAPE)
    noised = level.signal * clips + level.noise * torch.randn(4000, *SHAPE, generator=generator)
    started = Moments.of([clips]).start(torch.randn(4000, *SHAPE, generator=generator), level)
    expected, found = Moments.of([noised]), Moments.of([started])
    assert torch.allclose(found.mean, expected.mean, atol=0.12)
    assert torch.allclose(found.power, expected.power, rtol=0.2, atol=0.1)


def test_a_single_clip_is_refused():
    with pytest.raises(PosError, match="1 clips have no spectrum"):
        Moments.of([torch.zeros(1, *SHAPE)])
