"""CLIP-FID: Frechet distance between CLIP's embeddings of frames, not normalised (as in clean-fid)."""

from __future__ import annotations

from torch import Tensor

from pos.metrics.frechet import FeatureStatistics, resampled_distances


def clip_fid(embeddings: Tensor, reference: FeatureStatistics, weights: Tensor) -> Tensor:
    """CLIP-FID (b,) of embeddings (n, k, d) of FID's frames, video i counting ``weights[:, i]`` times."""
    return resampled_distances(embeddings, reference, weights)
