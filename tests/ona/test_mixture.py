"""Eq. 4: its ends are exact, its variance is what the formula says."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from pos.errors import PosError
from pos.ona.mixture import check_eta, ks_distance, mix, noise_statistics

SHAPE = (3, 4, 8, 16, 16)


def noise(seed: int, std: float = 1.0, mean: float = 0.0) -> torch.Tensor:
    return mean + std * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


EPS, EPS_INV = noise(1), noise(2, std=0.8, mean=0.1)


def test_the_ends_are_the_noises_themselves() -> None:
    assert torch.equal(mix(EPS, EPS_INV, 0.0), EPS)
    assert torch.equal(mix(EPS, EPS_INV, math.inf), EPS_INV)
    assert torch.equal(mix(EPS, EPS_INV, 0, variance_preserving=True), EPS)


@pytest.mark.parametrize("eta", [0.1, 0.2, 0.5, 1.0, 2.0])
def test_equation_4(eta: float) -> None:
    expected = (EPS + eta * EPS_INV) / math.sqrt(1 + eta**2)
    torch.testing.assert_close(mix(EPS, EPS_INV, eta), expected)


@given(st.floats(0, 1e308) | st.just(math.inf))
def test_variance_follows_the_weights(eta: float) -> None:
    weight = 1.0 if math.isinf(eta) else (eta / math.hypot(1, eta)) ** 2
    assert float(mix(EPS, EPS_INV, eta).var()) == pytest.approx(1 - weight + weight * 0.8**2, abs=0.03)
    assert float(mix(EPS, EPS_INV, eta, variance_preserving=True).var()) == pytest.approx(1, abs=0.03)


def test_large_eta_goes_to_the_guided_noise() -> None:
    torch.testing.assert_close(mix(EPS, EPS_INV, 1e200), EPS_INV)


def test_variance_is_preserved_per_sample() -> None:
    uneven = EPS_INV * torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1, 1, 1)
    mixed = mix(EPS, uneven, 1.0, variance_preserving=True)
    assert mixed.flatten(1).std(dim=1).tolist() == pytest.approx([1, 1, 1], abs=0.03)


def test_statistics() -> None:
    uneven = EPS * torch.tensor([0.5, 1.0, 2.0, 1.0]).view(1, 4, 1, 1, 1) + 0.25
    found = noise_statistics(uneven)
    assert len(found) == len(uneven)
    for statistics, noise in zip(found, uneven, strict=True):
        assert statistics.mean == pytest.approx(float(noise.mean()), abs=1e-6)
        assert statistics.std == pytest.approx(float(noise.std()), abs=1e-6)
        assert statistics.std == pytest.approx(math.sqrt((0.25 + 1 + 4 + 1) / 4), abs=0.04)
        assert statistics.channel_std == pytest.approx([0.5, 1, 2, 1], abs=0.06)
        standard = ((noise - noise.mean()) / noise.std()).flatten().double().numpy()
        expected = scipy.stats.kstest(standard, "norm").statistic
        assert statistics.ks_distance == pytest.approx(expected, abs=1e-6)


def test_the_distance_from_the_normal_is_that_of_kolmogorov_and_smirnov() -> None:
    generator = torch.Generator().manual_seed(3)
    for values in (
        torch.randn(500, generator=generator),
        torch.rand(2, 3, 50, generator=generator),
        torch.randn(400, generator=generator) ** 3 + 7,
        torch.tensor([0.0, 1.0]),
    ):
        standard = (values - values.mean()) / values.std()
        wanted = scipy.stats.kstest(standard.flatten().double().numpy(), "norm").statistic
        assert float(ks_distance(values.reshape(1, -1))) == pytest.approx(wanted, abs=1e-5)
    rows = EPS.flatten(1)
    torch.testing.assert_close(ks_distance(rows), ks_distance(3 * rows + 5), atol=1e-4, rtol=0)
    assert ks_distance(rows).max() < 2 / math.sqrt(rows.shape[1])


@pytest.mark.parametrize("eta", [-0.1, -math.inf, math.nan, "much"])
def test_eta_below_0_is_refused(eta: float) -> None:
    for refuses in (lambda: check_eta(eta), lambda: mix(EPS, EPS_INV, eta)):
        with pytest.raises(PosError, match=f"eta={eta} is not allowed"):
            refuses()


def test_noises_of_other_shapes_are_refused() -> None:
    with pytest.raises(PosError, match="cannot be mixed"):
        mix(EPS, EPS_INV[:1], 0.5)
