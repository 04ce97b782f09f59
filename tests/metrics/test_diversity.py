"""Diversity on angles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from pos.metrics.diversity import DIVERSITY, diversity, video_embedding
from pos.metrics.metric import MetricInput


def drawn(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ones(count: int) -> torch.Tensor:
    return torch.ones(1, count, dtype=torch.float64)


def test_is_the_mean_over_prompts_of_the_mean_distance_of_pairs():
    angles = torch.tensor([0.0, 0.4, 1.0, 0.0, 0.2, 2.0])
    embeddings = torch.stack([angles.cos(), angles.sin()], 1) * torch.arange(1, 7)[:, None]
    ids = ["a", "b", "a", "b", "a", "alone"]
    a = 3 - np.cos(1.0) - np.cos(0.2) - np.cos(0.8)
    b = 1 - np.cos(0.4)
    assert float(diversity(embeddings, ids, ones(6))) == pytest.approx((a / 3 + b) / 2, abs=1e-6)
    twice_b = torch.tensor([[1.0, 2, 1, 2, 1, 5]])
    assert float(diversity(embeddings, ids, twice_b)) == pytest.approx((a / 3 + 2 * b) / 3, abs=1e-6)


def test_equal_videos_have_none_and_single_ones_are_not_defined():
    assert float(diversity(torch.ones(4, 3), ["a"] * 4, ones(4))) == pytest.approx(0, abs=1e-12)
    assert diversity(torch.ones(2, 3), ["a", "b"], ones(2)).isnan().all()


def test_a_video_is_the_mean_of_its_normalised_frames():
    frames = drawn(0, 2, 3, 4) * torch.tensor([1.0, 10, 100])[None, :, None]
    assert torch.allclose(video_embedding(frames), normalize(frames, dim=-1).mean(1))


def test_the_metric_reads_its_row_and_notes_single_videos():
    rows = {"embedding": drawn(0, 4, 3)}
    several = MetricInput(rows, ["a", "b", "a", "b"], ones(4))
    assert torch.equal(DIVERSITY.compute(several), diversity(rows["embedding"], several.ids, ones(4)))
    assert DIVERSITY.notes(several) == []
    single = MetricInput(rows, list("abcd"), ones(4))
    assert DIVERSITY.notes(single) == ["No prompt has two videos: diversity is not defined."]
