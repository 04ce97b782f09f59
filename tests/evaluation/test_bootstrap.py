"""The bootstrap: what it draws, what its intervals cover."""

import math

import pytest
import torch

from pos.errors import PosError
from pos.evaluation.bootstrap import Resampling, interval
from pos.metrics.clipsim import clipsim
from pos.metrics.frechet import FeatureStatistics, resampled_distances


def names(count: int) -> list[str]:
    return [f"p{index}" for index in range(count)]


def test_seeds_of_a_prompt_stay_together():
    resampling = Resampling.of(["a", "b", "c", "c", "a", "b"], resamples=50)
    weights = resampling.weights
    assert weights.shape == (51, 6)
    assert weights[0].tolist() == [1] * 6
    assert torch.equal(weights[:, [0, 1, 2]], weights[:, [4, 5, 3]])
    assert weights[:, :3].sum(1).tolist() == [3.0] * 51
    assert not torch.equal(weights[1], weights[2])


def test_same_prompts_and_seed_are_paired():
    first = Resampling.of(names(5), 10, seed=3)
    assert Resampling.of(names(5), 10, seed=3).key == first.key
    assert torch.equal(Resampling.of(names(5), 10, seed=3).weights, first.weights)
    for other in (Resampling.of(names(5), 10, seed=4), Resampling.of(names(5)[::-1], 10, seed=3)):
        assert other.key != first.key


def test_the_interval_of_a_mean_is_the_central_limit():
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)).double() * 2 + 1
    estimate = interval(clipsim(values, Resampling.of(names(400), 4000).weights))
    error = 1.96 * float(values.std()) / math.sqrt(400)
    assert estimate.value == pytest.approx(float(values.mean()))
    assert estimate.low == pytest.approx(estimate.value - error, abs=0.02)
    assert estimate.high == pytest.approx(estimate.value + error, abs=0.02)
    assert estimate.significant


def test_pairing_takes_out_what_rows_share():
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(100, generator=generator).double() * 10
    gain = 0.1 + 0.05 * torch.randn(100, generator=generator).double()
    weights = Resampling.of(names(100)).weights
    paired = interval(clipsim(shared + gain, weights) - clipsim(shared, weights))
    assert 0 < paired.low < 0.1 < paired.high < 0.2
    assert not interval(clipsim(shared + gain, weights)).significant


def test_the_interval_of_a_distance_surrounds_it():
    """Resamples repeat videos, so that uncentred percentiles lie wholly above the distance itself."""
    generator = torch.Generator().manual_seed(0)
    reference = FeatureStatistics.of(torch.randn(2000, 32, generator=generator))
    samples = resampled_distances(
        torch.randn(40, 32, generator=generator), reference, Resampling.of(names(40), 200).weights
    )
    assert interval(samples).low > samples[0]
    estimate = interval(samples, centred=True)
    assert estimate.low < estimate.value < estimate.high


def test_what_is_not_defined_is_nan():
    assert math.isnan(interval(torch.full((11,), float("nan"))).low)
    some = interval(torch.tensor([1.0, float("nan"), 0.5, 1.5]))  # resamples without a prompt that counts
    assert some.value == 1
    assert 0.5 <= some.low < some.high <= 1.5


def test_nothing_to_resample():
    with pytest.raises(PosError, match="no video"):
        Resampling.of([])
    with pytest.raises(PosError, match="resamples must be at least 1, not 0"):
        Resampling.of(["a"], 0)
