"""Frame consistency on angles."""

import torch

from pos.metrics.consistency import CONSISTENCY, frame_consistency
from pos.metrics.metric import MetricInput


def test_is_the_cosine_of_the_angle_between_neighbours():
    angles = torch.tensor([[0.0, 0.3, 0.6, 0.9], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    frames = torch.stack([angles.cos(), angles.sin()], -1) * torch.tensor([1, 2, 3, 4])[None, :, None]
    expected = torch.tensor([0.3, 0.0, 1.0]).cos()
    assert torch.allclose(frame_consistency(frames), expected, atol=1e-6)


def test_the_metric_reads_its_row():
    inputs = MetricInput(
        {"consistency": torch.tensor([0.25, 0.75])}, ["a", "b"], torch.tensor([[1.0, 1], [3, 1]])
    )
    assert CONSISTENCY.compute(inputs).tolist() == [0.5, 0.375]
    assert CONSISTENCY.per_video(inputs.features).tolist() == [0.25, 0.75]
