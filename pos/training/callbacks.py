"""What accompanies a training: the moving average that is validated and exported, and a line of progress."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pos.errors import PosError

log = logging.getLogger(__name__)


class MovingAverage(WeightAveraging):
    """Lightning's weight averaging with a decay that warms up: min(decay, (1 + n) / (10 + n)) at update n.

    Lightning's own ``EMAWeightAveraging`` starts at the full decay, which drags the random initial weights
    through a short run, keeps the average on the CPU (the module moves only later), and averages integer
    buffers, which truncates them.

    Args:
        decay: at most, of one update.
        every: steps between updates.
    """

    def __init__(self, decay: float, every: int) -> None:
        if not 0 <= decay < 1 or every < 1:
            raise PosError(f"ema has decay {decay} and every {every}: allowed are [0, 1) and at least 1.")
        super().__init__(use_buffers=False, multi_avg_fn=self._average)
        self.decay, self.every = decay, every

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:  # noqa: ARG002
        return step_idx is not None and (step_idx + 1) % self.every == 0

    def decay_at(self, update: int) -> float:
        return min(self.decay, (1 + update) / (10 + update))

    def _average(self, averaged: list[Tensor], current: list[Tensor], _: Tensor | int) -> None:
        update = self._latest_update_step // self.every  # Lightning's own count would be read from the GPU
        get_ema_multi_avg_fn(self.decay_at(update))(averaged, current, update)

    def adopt(self, pl_module: pl.LightningModule) -> None:
        """Give the module the averaged weights: also where a resumed run had nothing left to train."""
        self._copy_average_to_current(pl_module)


class Pace(pl.Callback):
    """A log line every so often: step, steps a second, loss and learning rate; readable without a terminal.

    Args:
        seconds: between lines.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._time, self._step = 0.0, 0

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._time, self._step = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        passed = time.monotonic() - self._time
        if passed < self.seconds or not trainer.is_global_zero:
            return
        pace = (trainer.global_step - self._step) / passed
        loss = trainer.callback_metrics["loss"].item() if "loss" in trainer.callback_metrics else float("nan")
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        log.info(
            "step %d, %.1f steps/s, loss %.4g, learning rate %.2g", trainer.global_step, pace, loss, rate
        )
        self._time, self._step = time.monotonic(), trainer.global_step
