"""``method.noise=none``: the base noise as it is, the plain model's."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pos.diffusion.levels import LevelTable
from pos.noise.source import NoiseSource, Start
from pos.provenance import Plan


class Plain(NoiseSource):
    """eps ~ N(0, I)."""

    def start(self, base: Tensor, plans: Sequence[Plan], table: LevelTable) -> Start:  # noqa: ARG002
        return Start(base, 0, [0.0] * len(plans))
