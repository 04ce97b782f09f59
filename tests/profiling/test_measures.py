"""Measures against what is known of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pos.profiling import measures

CPU = torch.device("cpu")


def test_flops_of_a_matrix_product() -> None:
    with torch.device("meta"):
        network = nn.Linear(8, 16, bias=False)
    assert measures.forward_flops(network, {"input": torch.zeros(3, 8)}) == 2 * 3 * 8 * 16


def test_the_median_of_the_runs_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0, 1, 10, 19, 20, 22])  # runs of 1, 9 and 2 seconds
    monkeypatch.setattr(measures, "clock", lambda _: next(ticks))
    assert measures.timed(lambda: "done", CPU, repeats=3) == (2, "done")


def test_relative_error() -> None:
    expected = torch.tensor([3.0, 4.0])
    assert measures.relative_error(expected + torch.tensor([0.0, 0.5]), expected) == pytest.approx(0.1)


def test_a_profile_names_the_costly_operation() -> None:
    one, other = torch.randn(2, 256, 256)
    found = measures.kernels(lambda: one @ other, CPU)
    assert found["top"][0]["kernel"] == "aten::mm"
    assert found["top"][0]["calls"] == 1
    assert found["kernels_ms"] > 0


def test_exact_float32_ends() -> None:
    before = torch.backends.cudnn.allow_tf32
    with measures.exact_float32():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before
