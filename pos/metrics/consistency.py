"""Frame consistency: how alike neighbouring frames are to CLIP (Esser et al. 2023, Gen-1)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cosine_similarity


def frame_consistency(frames: Tensor) -> Tensor:
    """The mean cosine (n,) of the embeddings of neighbouring frames (n, f, d), f at least 2; in [-1, 1].

    A video that stands still has 1: it says nothing of how much moves.
    """
    return cosine_similarity(frames[:, 1:].float(), frames[:, :-1].float(), dim=-1).mean(1)


def consistency(similarities: Tensor, weights: Tensor) -> Tensor:
    """Frame consistency (b,) of a set: the mean of its videos', video i counting ``weights[:, i]`` times."""
    return weights @ similarities.to(weights) / weights.sum(1)
