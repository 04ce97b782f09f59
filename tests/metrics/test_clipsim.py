"""CLIPSIM on values worked out by hand."""

import math

import pytest
import torch

from pos.metrics.clipsim import CLIPSIM, clip_similarity, clipsim
from pos.metrics.metric import MetricInput

ONE = torch.ones(1, 2).double()


def test_clipsim_is_the_raw_cosine_averaged_over_frames():
    text = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    frames = torch.tensor([[[3.0, 0], [0, 1], [-1, 0], [1, 1]], [[0, 1], [0, 2], [0, 9], [0, 1]]])
    values = clip_similarity(frames, text)
    assert values.tolist() == pytest.approx([(1 + 0 - 1 + math.sqrt(0.5)) / 4, 1.0])
    assert float(clipsim(values, ONE)) == pytest.approx(float(values.mean()))
    assert float(clipsim(values, torch.tensor([[3.0, 1.0]]).double())) == pytest.approx(
        float(values[0] * 3 + values[1]) / 4
    )


def test_the_metric_reads_its_row():
    inputs = MetricInput(
        {"clipsim": torch.tensor([0.25, 0.75])}, ["a", "b"], torch.tensor([[1.0, 1], [3, 1]])
    )
    assert CLIPSIM.compute(inputs).tolist() == [0.5, 0.375]
    assert CLIPSIM.per_video(inputs.features).tolist() == [0.25, 0.75]
