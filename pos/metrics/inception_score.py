"""Inception score of videos (Saito et al. 2020, TGANv2)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from pos.errors import PosError
from pos.metrics.metric import Metric


def inception_score(probabilities: Tensor, weights: Tensor, splits: int = 1) -> Tensor:
    """IS (b,) of class probabilities (n, classes), video i counting ``weights[:, i]`` times.

    The mean over contiguous splits. Their number changes the score more than most models do: 12.9 with one
    and 11.6 with ten on the same videos. TGANv2's script takes one.

    Returns:
        float64 (b,), between 1 and the number of classes; NaN where a split counts no video.

    Raises:
        PosError: more splits than videos, or none.
    """
    return split_scores(probabilities, weights, splits).mean(1)


def split_scores(probabilities: Tensor, weights: Tensor, splits: int) -> Tensor:
    """The score (b, splits) of every contiguous split: exp mean KL(p_i, p), p the mean of the p_i.

    That is exp(H(p) - mean H(p_i)). Split k of n videos goes from k n // splits to (k + 1) n // splits.

    Raises:
        PosError: more splits than videos, or none.
    """
    count = len(probabilities)
    if not 1 <= splits <= count:
        raise PosError(f"splits={splits} is not allowed: {count} videos make 1 to {count} splits.")
    bounds = [split * count // splits for split in range(splits + 1)]
    lengths = [end - start for start, end in itertools.pairwise(bounds)]
    parts = zip(torch.split(probabilities, lengths), torch.split(weights, lengths, dim=1), strict=True)
    return torch.stack([_score(classes, times) for classes, times in parts], dim=1)


def _score(probabilities: Tensor, weights: Tensor) -> Tensor:
    shares = weights / weights.sum(1, keepdim=True)
    classes = probabilities.to(shares)
    return (entropy(shares @ classes) - shares @ entropy(classes)).exp()


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy in nats of probabilities (..., classes): (...)."""
    terms: Tensor = torch.special.xlogy(probabilities, probabilities)
    return -terms.sum(-1)


INCEPTION_SCORE = Metric(
    name="is",
    label="IS",
    better="higher",
    digits=2,
    detector="inception",
    compute=lambda inputs: inception_score(inputs.features["classes"], inputs.weights, inputs.splits),
    row="classes",
    group="paper",
    centred=True,
)
