"""Diversity: how far apart the videos of one prompt under several seeds are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pos.metrics.metric import Metric, MetricInput


def video_embedding(frames: Tensor) -> Tensor:
    """CLIP embeddings of frames (n, f, d) to one of the video (n, d): the mean of the normalised ones."""
    return normalize(frames.float(), dim=-1).mean(1)


def diversity(embeddings: Tensor, ids: Sequence[str], weights: Tensor) -> Tensor:
    """The mean over prompts of the mean distance of two of their videos, 1 - cosine.

    Args:
        embeddings: of videos (n, d).
        ids: the prompt's id of each; those with one video do not count.
        weights: (b, n), how often each video counts, the same for all of a prompt.

    Returns:
        float64 (b,) in [0, 2]; NaN where no prompt has two videos.
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(ids):
        places.setdefault(name, []).append(place)
    several = [of_prompt for of_prompt in places.values() if len(of_prompt) > 1]
    distances = torch.tensor([_distance(embeddings[rows]) for rows in several], dtype=torch.float64)
    times = weights[:, [rows[0] for rows in several]].double()
    return times @ distances / times.sum(1)


def _distance(embeddings: Tensor) -> float:
    """The mean over pairs, from the square of the sum of the unit vectors."""
    count, units = len(embeddings), normalize(embeddings.double(), dim=-1)
    cosines = (units.sum(0).square().sum() - count) / (count * (count - 1))
    return float(1 - cosines)


def _notes(inputs: MetricInput) -> list[str]:
    single = len(set(inputs.ids)) == len(inputs.ids)
    return ["No prompt has two videos: diversity is not defined."] if single else []


DIVERSITY = Metric(
    name="diversity",
    label="Diversity",
    better="higher",
    digits=3,
    detector="clip",
    compute=lambda inputs: diversity(inputs.features["embedding"], inputs.ids, inputs.weights),
    row="embedding",
    notes=_notes,
    undefined="no prompt has two videos",
)
