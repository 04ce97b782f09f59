"""The moving average against the sum it stands for."""

import pytest
import torch
from torch import nn

from pos.errors import PosError
from pos.training.callbacks import MovingAverage


class Counter(nn.Module):
    """One weight and one integer buffer, which averaging must not touch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("ids", torch.arange(1000))


def test_the_average_is_the_warmed_up_exponential_one():
    average, model = MovingAverage(decay=0.5, every=2), Counter()
    average._average_model = torch.optim.swa_utils.AveragedModel(
        model, use_buffers=average._use_buffers, **average._kwargs
    )
    trainer, expected = type("T", (), {"global_step": 0})(), None
    for step in range(1, 21):
        with torch.no_grad():
            model.weight.fill_(float(step))
        trainer.global_step = step
        before = average._latest_update_step // 2
        average.on_train_batch_end(trainer, model, None, None, step)
        if step % 2 == 0:
            decay = min(0.5, (1 + before) / (10 + before))
            expected = float(step) if expected is None else decay * expected + (1 - decay) * step
    assert average._average_model.module.weight.item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(average._average_model.module.ids, torch.arange(1000))
    average.adopt(model)
    assert model.weight.item() == pytest.approx(expected, rel=1e-5)


def test_the_decay_rises_to_its_limit():
    average = MovingAverage(decay=0.99, every=1)
    assert average.decay_at(0) == pytest.approx(0.1)
    assert average.decay_at(100) == pytest.approx(101 / 110)
    assert average.decay_at(10**6) == 0.99


@pytest.mark.parametrize(("decay", "every"), [(1.0, 1), (-0.1, 1), (0.9, 0)])
def test_impossible_settings_are_refused(decay, every):
    with pytest.raises(PosError, match="ema has decay"):
        MovingAverage(decay, every)
