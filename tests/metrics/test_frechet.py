"""Distances of Gaussians have closed forms."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pos.errors import PosError
from pos.metrics import frechet
from pos.metrics.frechet import FeatureStatistics, frechet_distance, resampled_distances


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def statistics(mean: torch.Tensor, covariance: torch.Tensor, count: int = 1000) -> FeatureStatistics:
    return FeatureStatistics(count, mean, covariance * (count - 1))


def test_commuting_covariances_have_a_closed_form():
    rotation = torch.linalg.qr(normal(6, 6)).Q
    a, b = torch.tensor([4.0, 1, 9, 2, 0.5, 1]).double(), torch.tensor([1.0, 1, 4, 8, 0.1, 0]).double()
    shift = torch.arange(6).double()
    distance = frechet_distance(
        statistics(shift, rotation * a @ rotation.T),
        statistics(torch.zeros(6).double(), rotation * b @ rotation.T),
    )
    expected = (shift**2).sum() + ((a.sqrt() - b.sqrt()) ** 2).sum()
    assert distance == pytest.approx(float(expected), rel=1e-9)


def test_equals_the_root_of_the_product_on_covariances_that_do_not_commute():
    a, b = (
        FeatureStatistics.of(normal(200, 8)),
        FeatureStatistics.of(normal(150, 8, seed=1) @ normal(8, 8, seed=2) + 0.3),
    )
    root = scipy.linalg.sqrtm((a.covariance @ b.covariance).numpy()).real
    mean = (a.mean - b.mean).square().sum()
    expected = mean + a.covariance.trace() + b.covariance.trace() - 2 * np.trace(root)
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize(("count", "dims"), [(500, 64), (64, 64), (16, 64), (5, 400), (2, 3)])
def test_a_set_is_at_distance_zero_from_itself_at_any_rank(count, dims):
    features = normal(count, dims) * torch.logspace(0, -6, dims).double() * 10
    stats = FeatureStatistics.of(features)
    assert frechet_distance(stats, stats) < 1e-6


def test_rank_deficient_sets_are_exact():
    """Two lines at an angle: with unit variance along each, the trace of the root is its cosine."""
    angle = 0.7
    line = torch.zeros(5).double()
    line[0] = 1
    other = torch.zeros(5).double()
    other[0], other[1] = np.cos(angle), np.sin(angle)
    zero = torch.zeros(5).double()
    a, b = statistics(zero, torch.outer(line, line)), statistics(zero, torch.outer(other, other))
    assert frechet_distance(a, b) == pytest.approx(2 - 2 * np.cos(angle), abs=1e-7)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), abs=1e-7)


def test_no_float32_is_involved():
    """VideoGPT's float32 root gives up to 0.18 here, and large means must not cancel."""
    features = (normal(300, 32) + 1000).float()
    stats = FeatureStatistics.of(features)
    assert stats.mean.dtype == torch.float64
    assert frechet_distance(stats, stats) < 1e-6
    assert float(resampled_distances(features, stats, torch.ones(1, 300))[0]) < 1e-6


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 39), min_size=1, max_size=5, unique=True), seed=st.integers(0, 99))
def test_statistics_merge_to_those_of_the_union(cuts, seed):
    features = normal(40, 3, seed=seed) * 3 + 100
    bounds = [0, *sorted(cuts), 40]
    merged = None
    for start, end in itertools.pairwise(bounds):
        part = FeatureStatistics.of(features[start:end])
        merged = part if merged is None else merged + part
    assert merged.count == 40
    assert torch.allclose(merged.mean, features.mean(0), rtol=1e-12)
    assert torch.allclose(merged.covariance, torch.cov(features.T), rtol=1e-9)


def test_weights_are_repetitions():
    reference = FeatureStatistics.of(normal(100, 4, seed=9))
    features = normal(6, 3, 4)  # three frames a video
    times = torch.tensor([[1, 1, 1, 1, 1, 1], [2, 0, 1, 0, 3, 0]])
    repeated = features.repeat_interleave(times[1], dim=0)
    expected = [frechet_distance(FeatureStatistics.of(rows), reference) for rows in (features, repeated)]
    assert resampled_distances(features, reference, times).tolist() == pytest.approx(expected, rel=1e-9)


def test_resampling_few_videos_in_many_features_is_exact():
    reference = FeatureStatistics.of(normal(500, 64, seed=9) * 30)
    features = normal(8, 64) * 30
    expected = frechet_distance(FeatureStatistics.of(features), reference)
    assert float(resampled_distances(features, reference, torch.ones(1, 8))[0]) == pytest.approx(
        expected, rel=1e-10
    )


def test_small_sets_are_biased_as_known():
    """64 features, 2,048 references: identical Gaussians are 21.5 apart at 64 videos."""
    reference = FeatureStatistics.of(normal(2048, 64))
    assert frechet_distance(FeatureStatistics.of(normal(64, 64, seed=3)), reference) == pytest.approx(
        21.5, rel=0.1
    )


def test_bad_features_are_named():
    with pytest.raises(PosError, match="1 of 3 feature vectors hold NaN"):
        FeatureStatistics.of(torch.tensor([[0.0], [float("nan")], [1.0]]))
    with pytest.raises(PosError, match="at least one"):
        FeatureStatistics.of(torch.zeros(0, 3))
    with pytest.raises(PosError, match="at least 2"):
        FeatureStatistics.of(torch.zeros(1, 3)).covariance  # noqa: B018
    with pytest.raises(PosError, match="3 and 4 dimensions"):
        frechet_distance(FeatureStatistics.of(normal(5, 3)), FeatureStatistics.of(normal(5, 4)))
    with pytest.raises(PosError, match="3 and 4 dimensions"):
        FeatureStatistics.of(normal(5, 3)) + FeatureStatistics.of(normal(5, 4))


def test_few_vectors_are_kept_and_give_the_distance_of_their_covariance():
    """While there are fewer than features, over merges too; beyond, the covariance alone."""
    features, other = normal(30, 64), FeatureStatistics.of(normal(40, 64, seed=1) * 2)
    few = FeatureStatistics.of(features[:10]) + FeatureStatistics.of(features[10:])
    assert few.factor is not None
    assert torch.allclose(few.factor.T @ few.factor, few.scatter, atol=1e-12)
    alone = FeatureStatistics(few.count, few.mean, few.scatter)
    assert frechet_distance(few, other) == pytest.approx(frechet_distance(alone, other), rel=1e-9)
    many = few + FeatureStatistics.of(normal(40, 64, seed=2))
    assert many.factor is None
    whole = FeatureStatistics.of(torch.cat([features, normal(40, 64, seed=2)]))
    assert torch.allclose(many.covariance, whole.covariance, rtol=1e-9)


def test_few_and_many_are_resampled_alike():
    """One vector short of the features, and one more: two ways to the same numbers."""
    reference = FeatureStatistics.of(normal(200, 16, seed=9) + 0.5)
    features = normal(17, 16)
    weights = torch.ones(3, 17).double()
    weights[1:, 16] = 0
    weights[2, :2] = torch.tensor([3.0, 0])
    many = resampled_distances(features, reference, weights)
    few = resampled_distances(features[:15], reference, weights[:, :15])
    expected = [frechet_distance(FeatureStatistics.of(features), reference)]
    assert many[:1].tolist() == pytest.approx(expected, rel=1e-9)
    sixteen = resampled_distances(features[:16], reference, weights[:, :16])
    assert many[1:].tolist() == pytest.approx(sixteen[1:].tolist(), rel=1e-9)
    again = FeatureStatistics.of(features[:15])
    assert float(few[0]) == pytest.approx(frechet_distance(again, reference), rel=1e-9)
    rows = features[:15].repeat_interleave(weights[2, :15].long(), dim=0)
    assert float(few[2]) == pytest.approx(frechet_distance(FeatureStatistics.of(rows), reference), rel=1e-9)


@pytest.mark.parametrize(("decay", "fast"), [(0, True), (1, True), (8, False)])
def test_singular_values_of_large_matrices_take_the_fast_way_where_it_is_exact(decay, fast, monkeypatch):
    """1,024 of them; where they decay by 24 orders of magnitude, eigenvalues of the square would be noise."""
    values = torch.arange(1, 1025).double() ** -decay
    left, right = (torch.linalg.qr(normal(1024, 1024, seed=seed)).Q for seed in (1, 2))
    svdvals, calls = torch.linalg.svdvals, []
    monkeypatch.setattr(torch.linalg, "svdvals", lambda matrix: calls.append(1) or svdvals(matrix))
    found = frechet._sum_of_singular_values((left * values) @ right, 1e-8 * float(values.sum()))
    assert float(found) == pytest.approx(float(values.sum()), rel=1e-8)
    assert calls == [] if fast else [1]


def test_large_covariances_have_their_closed_form():
    dims = 1024
    scale = torch.arange(1, dims + 1).double() ** -0.5
    rotation = torch.linalg.qr(normal(dims, dims)).Q
    a, b = (
        statistics(normal(dims, seed=seed), (rotation * spread**2) @ rotation.T)
        for seed, spread in ((1, scale), (2, 1.3 * scale + 1e-4))
    )
    expected = (a.mean - b.mean).square().sum() + ((0.3 * scale + 1e-4) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-8)


def test_statistics_of_many_vectors_are_gathered_in_blocks():
    features = normal(10_000, 3).float() + 5
    stats = FeatureStatistics.of(features)
    assert stats.count == 10_000
    assert torch.allclose(stats.covariance, torch.cov(features.double().T), rtol=1e-9)
    features[7000] = torch.inf
    with pytest.raises(PosError, match="1 of 10000 feature vectors hold NaN"):
        FeatureStatistics.of(features)


def test_resampling_in_blocks_changes_nothing(monkeypatch):
    features, reference = normal(50, 2, 4), FeatureStatistics.of(normal(60, 4, seed=1))
    weights = torch.randint(0, 3, (7, 50), generator=torch.Generator().manual_seed(0))
    whole = resampled_distances(features, reference, weights)
    monkeypatch.setattr(frechet, "_ROWS", 13)
    monkeypatch.setattr(frechet, "_CHUNK_ELEMENTS", 100)
    assert torch.allclose(resampled_distances(features, reference, weights), whole, rtol=1e-10)
