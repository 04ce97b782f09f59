"""Labels, degradations and the losses of the classifiers."""

from itertools import count

import pytest
import torch

from pos.errors import PosError
from pos.networks.shapes.classifiers import FrameClassifier, VideoClassifier
from pos.training.classifier import ClassifierTask, degrade, target
from pos.training.task import Optimization

TOWER = {"widths": [8, 8, 8], "dim": 32, "grid": 4}
FAST = Optimization(learning_rate=1e-2)


def test_the_class_of_the_inception_score_is_shape_by_motion():
    attributes = torch.tensor([[0, 7, 1, 0, 4, 3], [5, 0, 0, 9, 0, 0], [2, 0, 0, 3, 0, 0]])
    assert target("class", attributes).tolist() == [0, 59, 23]
    assert target("motion", attributes).tolist() == [0, 9, 3]


def test_degradation_is_mostly_light_and_keeps_flat_clips_flat_without_noise():
    generator = torch.Generator().manual_seed(0)
    flat = torch.full((4, 2, 3, 16, 16), 100, dtype=torch.uint8)
    assert torch.equal(degrade(flat, noise=0.0, blur=1.0, generator=generator), flat)
    noisy = degrade(flat.expand(4, 2, 3, 16, 16).repeat(64, 1, 1, 1, 1), 12.0, 0.0, generator)
    spread = noisy.float().std((1, 2, 3, 4))
    assert spread.max() < 12.5
    assert spread.max() > 8
    assert spread.median() < 5
    edge = torch.zeros(8, 1, 3, 16, 16, dtype=torch.uint8)
    edge[..., 8:] = 255
    assert (degrade(edge, 0.0, 1.0, generator) != edge).any()


@pytest.mark.parametrize("frames", [None, 1])
def test_brightness_is_learnt_and_validation_agrees(frames):
    torch.manual_seed(0)
    kind = VideoClassifier if frames is None else FrameClassifier
    extra = {"layers": 1} if frames is None else {}
    task = ClassifierTask(kind({"colour": 8}, **TOWER, **extra), FAST, seed=0, frames=frames)
    task.log = lambda *_, **__: None
    steps = count()
    task.generator = lambda seed: torch.Generator().manual_seed(seed + next(steps))
    attributes = torch.zeros(8, 6, dtype=torch.int64)
    attributes[:, 1] = torch.arange(8)
    videos = (attributes[:, 1] * 36).to(torch.uint8)[:, None, None, None, None].repeat(1, 2, 3, 64, 64)
    batch = {"videos": videos, "attributes": attributes}
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    first = task.training_step(batch, 0).item()
    for _ in range(40):
        optimizer.zero_grad()
        loss = task.training_step(batch, 0)
        loss.backward()
        optimizer.step()
    assert first > 1.5
    assert loss.item() < 0.3 * first
    seen = {}
    task.log = lambda name, value, **_: seen.update({name: value.item()})
    task.eval().validation_step(batch, 0)
    assert seen["accuracy colour"] > 0.8


def test_heads_that_shapes_does_not_label_are_refused():
    with pytest.raises(PosError, match="'weather'"):
        ClassifierTask(FrameClassifier({"weather": 3}, **TOWER), FAST, seed=0, frames=2)
    with pytest.raises(PosError, match="video classifier sees whole clips"):
        ClassifierTask(VideoClassifier({"shape": 6}, **TOWER, layers=1), FAST, seed=0, frames=2)
