"""FID: the Frechet distance of its own features, which ``test_frechet`` tests."""

import pytest
import torch

from pos.metrics.fid import FID
from pos.metrics.frechet import FeatureStatistics, frechet_distance
from pos.metrics.metric import MetricInput


def test_the_metric_is_the_distance_of_its_row_from_its_detectors_statistics():
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(8, 5, 4, generator=draw)
    real = FeatureStatistics.of(torch.randn(50, 4, generator=draw) + 0.5)
    weights = torch.ones(2, 8).double()
    weights[1, :4], weights[1, 4:] = 2, 0
    inputs = MetricInput({"fid": rows}, list("abcdefgh"), weights, statistics={"fid": real})
    whole, resampled = FID.compute(inputs).tolist()
    assert whole == pytest.approx(frechet_distance(FeatureStatistics.of(rows), real), rel=1e-9)
    twice = FeatureStatistics.of(rows[:4].repeat_interleave(2, dim=0))
    assert resampled == pytest.approx(frechet_distance(twice, real), rel=1e-6)
    assert FID.distance(FeatureStatistics.of(rows), real) == pytest.approx(whole, rel=1e-9)
