"""CLIPSIM: how well frames match their prompt in CLIP's joint space (Wu et al. 2021, GODIVA)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cosine_similarity

from pos.metrics.metric import Metric


def clip_similarity(frames: Tensor, texts: Tensor) -> Tensor:
    """CLIPSIM of each video: the mean over frames of the raw cosine, neither scaled by 100 nor clamped at 0.

    Args:
        frames: embeddings of every frame (n, f, d).
        texts: embeddings of the prompts (n, d).

    Returns:
        (n,) in [-1, 1].
    """
    return cosine_similarity(frames.float(), texts.float()[:, None], dim=-1).mean(1)


def clipsim(similarities: Tensor, weights: Tensor) -> Tensor:
    """CLIPSIM (b,) of a set: the mean over its videos (n,), video i counting ``weights[:, i]`` times."""
    return weights @ similarities.to(weights) / weights.sum(1)


CLIPSIM = Metric(
    name="clipsim",
    label="CLIPSIM",
    better="higher",
    digits=3,
    detector="clip",
    compute=lambda inputs: clipsim(inputs.features["clipsim"], inputs.weights),
    row="clipsim",
    group="paper",
    per_video=lambda features: features["clipsim"].double(),
    plotted=True,
)
