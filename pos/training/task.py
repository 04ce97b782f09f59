"""What every trained network shares: the optimiser, a cosine that ends with the budget, and an export."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

_SPENT_EVERY = 20  # steps between looks at the clock of several processes: each look waits for all of them


@dataclass(frozen=True)
class Optimization:
    """AdamW with linear warm-up and a cosine to zero (the paper's choice, section 5.1).

    Attributes:
        learning_rate: after the warm-up.
        weight_decay: of matrices and kernels; biases, norms and other vectors are not decayed.
        betas, eps: AdamW's.
        warmup: steps of linear warm-up.
    """

    learning_rate: float
    weight_decay: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    warmup: int = 200

    def factor(self, step: int, spent: float) -> float:
        """The fraction of ``learning_rate`` at a step when ``spent`` (0..1) of the budget is gone."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, spent)))


class Task(pl.LightningModule):
    """A network and how it is trained. Subclasses add ``training_step``, ``validation_step`` and ``export``.

    Args:
        network: what is trained, validated (with averaged weights) and exported. Frozen helpers are
            attributes beside it with ``requires_grad`` off.
        optimization: optimiser and schedule.
    """

    def __init__(self, network: nn.Module, optimization: Optimization) -> None:
        super().__init__()
        self.network = network
        self.optimization = optimization
        self._spent: float | None = None

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that the optimiser changes."""
        return (parameter for parameter in self.network.parameters() if parameter.requires_grad)

    def export(self, path: Path) -> None:
        """Write the network's weights (averaged at this point) with the configuration that rebuilds it."""
        raise NotImplementedError

    def load(self, path: Path) -> None:
        """Take over exported weights, so that they can be validated again."""
        from pos.networks.weights import load_weights

        load_weights(self.network, path)

    def configure_optimizers(self) -> dict:
        settings = self.optimization
        parameters = list(self.trained_parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = AdamW(groups, lr=settings.learning_rate, betas=tuple(settings.betas), eps=settings.eps)
        schedule = LambdaLR(optimizer, lambda step: settings.factor(step, self.spent()))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def spent(self) -> float:
        """The fraction of the budget that is gone: of the steps or of the time, whichever is nearer its end.

        A run limited by time thus anneals within that time, however fast the machine is. The clock of the
        first process counts for all, so that their weights stay the same.
        """
        trainer = self.trainer
        if trainer.world_size > 1 and trainer.global_step % _SPENT_EVERY and self._spent is not None:
            return self._spent
        fractions = [trainer.global_step / trainer.max_steps] if trainer.max_steps > 0 else []
        for timer in trainer.callbacks:
            if isinstance(timer, Timer) and timer.time_remaining() is not None:
                elapsed = timer.time_elapsed()
                fractions.append(elapsed / (elapsed + max(0.0, timer.time_remaining()) + 1e-9))
        self._spent = trainer.strategy.broadcast(max(fractions))
        return self._spent

    def generator(self, seed: int) -> torch.Generator:
        """A generator on the module's device for this step, a function of seed, step and process."""
        key = (seed * 1_000_003 + self.global_step) * 1_009 + self.global_rank
        return torch.Generator(self.device).manual_seed(key % 2**63)
