"""FVD: Frechet distance between features of generated and real videos (Unterthiner et al. 2018)."""

from __future__ import annotations

from torch import Tensor

from pos.metrics.frechet import FeatureStatistics, resampled_distances


def fvd(features: Tensor, reference: FeatureStatistics, weights: Tensor) -> Tensor:
    """FVD (b,) of video features (n, d), video i counting ``weights[:, i]`` times; lower is better."""
    return resampled_distances(features, reference, weights)
