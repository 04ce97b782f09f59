"""FVD from features of VideoMAE v2 in place of I3D's (Ge et al. 2024, "On the Content Bias in Frechet Video
Distance"), which weigh motion more."""

from __future__ import annotations

from torch import Tensor

from pos.metrics.frechet import FeatureStatistics, frechet_distance, resampled_distances
from pos.metrics.metric import Metric


def fvd_videomae(features: Tensor, reference: FeatureStatistics, weights: Tensor) -> Tensor:
    """FVD (b,) of VideoMAE features (n, d), video i counting ``weights[:, i]`` times; lower is better."""
    return resampled_distances(features, reference, weights)


FVD_VIDEOMAE = Metric(
    name="fvd_videomae",
    label="FVD (VideoMAE)",
    better="lower",
    digits=2,
    detector="videomae",
    compute=lambda inputs: fvd_videomae(
        inputs.features["videomae"], inputs.statistics["videomae"], inputs.weights
    ),
    row="videomae",
    reference="statistics",
    centred=True,
    distance=frechet_distance,
)
