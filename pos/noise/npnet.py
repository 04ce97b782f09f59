"""``method.noise=npnet``: POS*, the noise that NPNet predicts mixed into the base noise (Eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pos.diffusion.levels import LevelTable
from pos.noise.source import NoiseSource, Start
from pos.ona.mixture import mix
from pos.ona.npnet import NPNet
from pos.provenance import Plan


@dataclass(frozen=True)
class Predicted(NoiseSource):
    """eps_mix of Eq. 4.

    Attributes:
        npnet: predicts from the prompts.
        sampler_steps: T of the prediction.
        eta: weight of the predicted noise.
        variance_preserving: scale the predicted noise to unit deviation first.
    """

    npnet: NPNet
    sampler_steps: int
    eta: float
    variance_preserving: bool = False

    def start(self, base: Tensor, plans: Sequence[Plan], table: LevelTable) -> Start:  # noqa: ARG002
        prompts, ids, seeds = zip(
            *[(plan.request.prompt, plan.request.id, plan.request.seed) for plan in plans], strict=True
        )
        noises, evaluations = self.npnet.predict_noise(
            prompts, ids, seeds, base.shape[1:], self.sampler_steps
        )
        mixed = mix(base, noises.to(base.device), self.eta, self.variance_preserving)
        return Start(mixed, evaluations, [self.eta] * len(plans))
