"""The schedule: warm-up, cosine, and the budget it ends with."""

from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.callbacks import Timer
from torch import nn

from pos.training.task import Optimization, Task


def test_factor_warms_up_linearly_and_ends_at_zero():
    schedule = Optimization(learning_rate=1.0, warmup=10)
    assert schedule.factor(0, 0.0) == pytest.approx(0.1)
    assert schedule.factor(4, 0.0) == pytest.approx(0.5)
    assert schedule.factor(100, 0.5) == pytest.approx(0.5)
    assert schedule.factor(100, 1.0) == pytest.approx(0.0, abs=1e-12)
    assert schedule.factor(100, 1.3) == pytest.approx(0.0, abs=1e-12)  # the last step may overrun the clock


def task_with(max_steps: int, step: int, timer: Timer | None) -> Task:
    task = Task(nn.Linear(2, 2), Optimization(learning_rate=1.0))
    callbacks = [] if timer is None else [timer]
    strategy = SimpleNamespace(broadcast=lambda value: value)
    task._trainer = SimpleNamespace(
        max_steps=max_steps, global_step=step, callbacks=callbacks, strategy=strategy, world_size=1
    )
    task._fabric = None
    return task


def clock(minutes: float, elapsed: float) -> Timer:
    timer = Timer(duration={"minutes": minutes})
    timer.load_state_dict({"time_elapsed": {"train": elapsed}})
    return timer


@pytest.mark.parametrize(
    ("max_steps", "step", "timer", "spent"),
    [
        (100, 25, None, 0.25),
        (-1, 25, clock(1, 45.0), 0.75),
        (100, 25, clock(1, 45.0), 0.75),
        (100, 90, clock(1, 45.0), 0.9),
        (-1, 5, clock(1, 90.0), 1.0),
        (100, 25, Timer(), 0.25),
    ],
)
def test_spent_is_the_nearer_end_of_steps_and_time(max_steps, step, timer, spent):
    assert task_with(max_steps, step, timer).spent() == pytest.approx(spent, abs=1e-6)


def test_vectors_are_not_decayed_and_frozen_weights_are_left_out():
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 1))
    network[2].requires_grad_(False)
    task = Task(network, Optimization(learning_rate=1.0, weight_decay=0.3))
    task._trainer = task_with(10, 0, None)._trainer
    matrices, vectors = task.configure_optimizers()["optimizer"].param_groups
    assert matrices["weight_decay"] == 0.3
    assert [tuple(p.shape) for p in matrices["params"]] == [(3, 3)]
    assert vectors["weight_decay"] == 0.0
    assert len(vectors["params"]) == 3


def test_generators_differ_by_step_and_repeat():
    first, again, later = (task_with(10, step, None) for step in (3, 3, 4))
    for task in (first, again, later):
        task._trainer.global_rank = 0
    draw = [torch.rand(4, generator=task.generator(7)) for task in (first, again, later)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
