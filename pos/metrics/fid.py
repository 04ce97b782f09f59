"""FID of frames (Heusel et al. 2017): Frechet distance between features of generated and real images."""

from __future__ import annotations

from torch import Tensor

from pos.metrics.frechet import FeatureStatistics, frechet_distance, resampled_distances
from pos.metrics.metric import Metric


def fid(features: Tensor, reference: FeatureStatistics, weights: Tensor) -> Tensor:
    """FID (b,) of frame features (n, k, d), video i counting ``weights[:, i]`` times; lower is better."""
    return resampled_distances(features, reference, weights)


FID = Metric(
    name="fid",
    label="FID",
    better="lower",
    digits=2,
    detector="fid",
    compute=lambda inputs: fid(inputs.features["fid"], inputs.statistics["fid"], inputs.weights),
    row="fid",
    group="paper",
    reference="statistics",
    centred=True,
    distance=frechet_distance,
)
