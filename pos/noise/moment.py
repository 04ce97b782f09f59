"""``method.noise=moment``: Gaussian noise with the pool's mean and spectrum at the noisiest level.

Ours, not the paper's: of what a diffused clip has it keeps the first two moments and no clip. FreeInit and
FreqPrior shape the spectrum of a start as well, from the model's own videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pos.diffusion.levels import LevelTable
from pos.noise.source import NoiseSource, Start
from pos.ona.moments import Moments
from pos.provenance import Plan


@dataclass(frozen=True)
class Moment(NoiseSource):
    """``a m + sqrt(a^2 S + s^2) eps`` of every Fourier coefficient, with mean m and power S over the pool.

    Attributes:
        moments: of the pool's latents.
    """

    moments: Moments

    def start(self, base: Tensor, plans: Sequence[Plan], table: LevelTable) -> Start:
        return Start(self.moments.start(base, table[table.steps]), 0, [0.0] * len(plans))
