"""The step counts of Eq. 8 and who conditions which step."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pos.backbones.base import Conditioning
from pos.errors import PosError
from pos.spr.hybrid import HybridSemantics, rewritten_steps


@pytest.mark.parametrize(
    ("steps", "gamma", "m"),
    [
        (50, 0.04, 2),
        (50, 0.58, 29),
        (50, 0.01, 1),
        (50, 0.0, 0),
        (50, 1.0, 50),
        (10, 0.1, 1),
        (10, 0.25, 2),
        (1, 1e-6, 1),
    ],
)
def test_steps_of_equation_8(steps: int, gamma: float, m: int) -> None:
    assert rewritten_steps(steps, gamma) == m


@given(st.integers(1, 1000), st.integers(0, 1000))
def test_whole_fractions_are_exact(steps: int, m: int) -> None:
    m = min(m, steps)
    assert rewritten_steps(steps, m / steps) == m


@given(st.integers(1, 1000), st.floats(0, 1), st.floats(0, 1))
def test_more_gamma_is_never_fewer_steps(steps: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= rewritten_steps(steps, low) <= rewritten_steps(steps, high) <= steps
    assert (rewritten_steps(steps, high) == 0) is (high == 0)


@pytest.mark.parametrize("gamma", [-0.1, 1.0001, math.nan, math.inf, "0.5"])
def test_gamma_outside_0_to_1_is_refused(gamma: float) -> None:
    with pytest.raises(PosError, match=f"gamma={gamma}"):
        rewritten_steps(50, gamma)


def test_the_rewritten_prompt_conditions_the_first_steps() -> None:
    rewritten, original = (Conditioning({"text": torch.full((1, 1), value)}) for value in (1.0, 0.0))
    hybrid = HybridSemantics(rewritten, original, m=2)
    assert [float(hybrid.at(index).tensors["text"]) for index in range(4)] == [1, 1, 0, 0]
