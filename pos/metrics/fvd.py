"""FVD: Frechet distance between features of generated and real videos (Unterthiner et al. 2018)."""

from __future__ import annotations

from torch import Tensor

from pos.metrics.frechet import FeatureStatistics, frechet_distance, resampled_distances
from pos.metrics.metric import Metric


def fvd(features: Tensor, reference: FeatureStatistics, weights: Tensor) -> Tensor:
    """FVD (b,) of video features (n, d), video i counting ``weights[:, i]`` times; lower is better."""
    return resampled_distances(features, reference, weights)


FVD = Metric(
    name="fvd",
    label="FVD",
    better="lower",
    digits=2,
    detector="fvd",
    compute=lambda inputs: fvd(inputs.features["fvd"], inputs.statistics["fvd"], inputs.weights),
    row="fvd",
    group="paper",
    reference="statistics",
    centred=True,
    distance=frechet_distance,
    plotted=True,
)
