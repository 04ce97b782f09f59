"""KID against torchmetrics, clean-fid and its own expectation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from pos.errors import PosError
from pos.evaluation.bootstrap import Resampling
from pos.metrics.kid import KID, kid
from pos.metrics.metric import MetricInput


def drawn(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def named(count: int) -> list[str]:
    return [str(place) for place in range(count)]


def ones(count: int) -> torch.Tensor:
    return torch.ones(1, count, dtype=torch.float64)


def test_is_torchmetrics_of_one_subset_that_is_the_whole_set():
    features, real = drawn(0, 40, 1, 16), drawn(1, 40, 16, scale=1.3)
    expected = poly_mmd(real.double(), features[:, 0].double())
    assert float(kid(features, real, ones(40), named(40))) == pytest.approx(float(expected), rel=1e-9)


def test_is_the_mean_of_clean_fids_subsets():
    """Which are random: within four of their standard errors."""
    cleanfid = pytest.importorskip("cleanfid.fid")
    features, real = drawn(0, 200, 1, 8).double() + 0.3, drawn(1, 150, 8).double()
    np.random.seed(0)  # noqa: NPY002 - clean-fid draws from it
    draws = [
        cleanfid.kernel_distance(real.numpy(), features[:, 0].numpy(), num_subsets=1, max_subset_size=60)
        for _ in range(400)
    ]
    exact = float(kid(features, real, ones(200), named(200)))
    assert abs(np.mean(draws) - exact) < 4 * np.std(draws) / 20
    assert exact == pytest.approx(np.mean(draws), rel=0.1)
    assert exact > 4 * np.std(draws) / 20


def test_is_without_bias():
    """Sets of one distribution: around zero at any size, on both sides of it."""
    found = [float(kid(drawn(s, 12, 1, 4), drawn(1000 + s, 15, 4), ones(12), named(12))) for s in range(300)]
    assert abs(np.mean(found)) < 4 * np.std(found) / len(found) ** 0.5
    assert 0.2 < np.mean(np.array(found) < 0) < 0.8


def test_frames_are_images_of_their_own(monkeypatch):
    features, real = drawn(0, 10, 3, 8), drawn(1, 30, 8)
    whole = kid(features, real, ones(10), named(10))
    assert torch.allclose(whole, kid(features.reshape(30, 1, 8), real, ones(30), named(30)))
    monkeypatch.setattr("pos.metrics.kid._ROWS", 7)  # blocks that do not divide anything
    assert torch.allclose(kid(features, real, ones(10), named(10)), whole)


def test_weights_are_repetitions_that_make_no_pair():
    """A video of weight 0 is not there; equal weights of single images change nothing."""
    features, real = drawn(0, 10, 1, 8), drawn(1, 30, 8)
    weights = torch.cat([ones(10), 3 * ones(10), ones(10)])
    weights[2, 7:] = 0
    found = kid(features, real, weights, named(10))
    assert not torch.isclose(found[0], found[2])
    assert torch.isclose(found[0], found[1])
    assert torch.isclose(found[2], kid(features[:7], real, ones(7), named(7))[0])


def test_resampling_does_not_inflate_it():
    """Videos of alike frames, under two alike seeds: their pairs must not count twice in a resample."""
    prompts = drawn(0, 30, 1, 1, 8) + 0.5 * drawn(1, 30, 2, 1, 8)
    features = (prompts + 0.1 * drawn(2, 30, 2, 3, 8)).reshape(60, 3, 8)
    ids = [f"p{place // 2}" for place in range(60)]
    weights = Resampling.of(ids, resamples=2000).weights
    found = kid(features, drawn(3, 90, 8), weights, ids)
    spread = found[1:].std()
    assert abs(found[1:].mean() - found[0]) < 0.2 * spread
    assert spread > 0


def test_the_metric_reads_features_and_images():
    features, real = drawn(0, 10, 3, 8), drawn(1, 30, 8)
    inputs = MetricInput({"fid": features}, named(10), ones(10), images=real)
    assert torch.equal(KID.compute(inputs), kid(features, real, ones(10), named(10)))
    with pytest.raises(PosError, match="KID needs the features of real frames"):
        KID.compute(MetricInput({"fid": features}, named(10), ones(10)))
