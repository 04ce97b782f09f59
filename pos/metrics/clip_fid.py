"""CLIP-FID: Frechet distance between CLIP's embeddings of frames, not normalised (as in clean-fid)."""

from __future__ import annotations

from torch import Tensor

from pos.metrics.frechet import FeatureStatistics, frechet_distance, resampled_distances
from pos.metrics.metric import Metric


def clip_fid(embeddings: Tensor, reference: FeatureStatistics, weights: Tensor) -> Tensor:
    """CLIP-FID (b,) of embeddings (n, k, d) of FID's frames, video i counting ``weights[:, i]`` times."""
    return resampled_distances(embeddings, reference, weights)


CLIP_FID = Metric(
    name="clip_fid",
    label="CLIP-FID",
    better="lower",
    digits=2,
    detector="clip",
    compute=lambda inputs: clip_fid(inputs.features["clip"], inputs.statistics["clip"], inputs.weights),
    row="clip",
    group="paper",
    reference="statistics",
    centred=True,
    distance=frechet_distance,
)
