"""Denoising with hybrid semantics (Eq. 8): the rewritten prompt first, the original after."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pos.errors import PosError

if TYPE_CHECKING:
    from pos.backbones.base import Conditioning


def rewritten_steps(steps: int, gamma: float) -> int:
    """m, the number of denoising steps under the rewritten prompt.

    ``floor(T * gamma)``, at least one step for any gamma > 0 (where cases 1 and 3 of Eq. 8 overlap, the first
    wins), none for 0.

    Args:
        steps: T.
        gamma: in [0, 1].

    Raises:
        PosError: gamma outside [0, 1] or NaN.
    """
    if not (isinstance(gamma, (int, float)) and 0 <= gamma <= 1):
        raise PosError(
            f"gamma={gamma} is not allowed: it is the fraction of steps under the rewritten prompt, 0 to 1."
        )
    # 50 * 0.58 is 28.999... in floating point; the paper's floor means 29
    return 0 if gamma == 0 else max(1, math.floor(steps * gamma + 1e-9))


@dataclass(frozen=True)
class HybridSemantics:
    """The conditioning of every denoising step.

    Attributes:
        rewritten: C^r, the condition of steps 0 to m - 1.
        original: C, the condition of the rest; the same number of rows.
        m: number of steps under ``rewritten``.
    """

    rewritten: Conditioning
    original: Conditioning
    m: int

    def at(self, index: int) -> Conditioning:
        """The conditioning of the ``index``-th denoising step, counted from 0."""
        return self.rewritten if index < self.m else self.original
