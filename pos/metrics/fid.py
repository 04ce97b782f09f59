"""FID of frames: Frechet distance between features of generated and real images."""

from __future__ import annotations

from torch import Tensor

from pos.metrics.frechet import FeatureStatistics, resampled_distances


def fid(features: Tensor, reference: FeatureStatistics, weights: Tensor) -> Tensor:
    """FID (b,) of frame features (n, k, d), video i counting ``weights[:, i]`` times; lower is better."""
    return resampled_distances(features, reference, weights)
