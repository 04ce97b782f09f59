"""Inception score of videos (Saito et al. 2020, TGANv2)."""

from __future__ import annotations

import torch
from torch import Tensor


def inception_score(probabilities: Tensor, weights: Tensor) -> Tensor:
    """IS (b,) of class probabilities (n, classes), video i counting ``weights[:, i]`` times.

    One split over all videos: the number of splits changes the score more than most models do (12.9 with one,
    11.6 with ten, on the same videos). exp mean KL(p_i, p) = exp(H(p) - mean H(p_i)), p the mean of the p_i.

    Returns:
        float64 (b,), between 1 and the number of classes.
    """
    shares = weights / weights.sum(1, keepdim=True)
    classes = probabilities.to(shares)
    return (_entropy(shares @ classes) - shares @ _entropy(classes)).exp()


def _entropy(probabilities: Tensor) -> Tensor:
    return -torch.special.xlogy(probabilities, probabilities).sum(-1)
