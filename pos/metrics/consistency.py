"""Frame consistency: similarity of neighbouring frames under CLIP (Esser et al. 2023, Gen-1)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cosine_similarity

from pos.metrics.metric import Metric


def frame_consistency(frames: Tensor) -> Tensor:
    """The mean cosine (n,) of the embeddings of neighbouring frames (n, f, d), f at least 2; in [-1, 1].

    A video without motion has 1: the metric does not measure how much moves.
    """
    return cosine_similarity(frames[:, 1:].float(), frames[:, :-1].float(), dim=-1).mean(1)


def consistency(similarities: Tensor, weights: Tensor) -> Tensor:
    """Frame consistency (b,) of a set: the mean over its videos, video i counting ``weights[:, i]`` times."""
    return weights @ similarities.to(weights) / weights.sum(1)


CONSISTENCY = Metric(
    name="consistency",
    label="Frame consistency",
    better="higher",
    digits=3,
    detector="clip",
    compute=lambda inputs: consistency(inputs.features["consistency"], inputs.weights),
    row="consistency",
    per_video=lambda features: features["consistency"].double(),
)
