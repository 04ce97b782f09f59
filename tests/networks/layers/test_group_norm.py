"""Our GroupNorm is torch's, and so are its GPU kernels, here in Triton's interpreter."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pos.networks.layers.group_norm import GroupNorm
from tests.triton_interpreter import assert_holds_interpreted

CASES = """
import torch
from torch.nn import functional
from pos.networks.layers.group_norm_kernel import group_norm

torch.manual_seed(0)
for samples, channels, height, width, groups, rows, silu in [
    (2, 96, 9, 9, 32, 0, True), (4, 64, 5, 7, 32, 2, True), (1, 160, 3, 30, 32, 1, False),
    (3, 48, 1, 1, 8, 3, False), (1, 128, 64, 40, 2, 0, True),
]:
    maps = 3 * torch.randn(samples, channels, height, width) + 1
    maps = maps.contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(2, channels)
    shift = torch.randn(rows, channels) if rows else None
    found = group_norm(maps, groups, weight, bias, 1e-5, silu, shift)
    expected = maps.double()
    if rows:
        expected = expected + shift.double().repeat_interleave(samples // rows, 0)[..., None, None]
    expected = functional.group_norm(expected, groups, weight.double(), bias.double(), 1e-5)
    expected = functional.silu(expected) if silu else expected
    assert found.is_contiguous(memory_format=torch.channels_last)
    error = float((found.double() - expected).norm() / expected.norm())
    assert error < 1e-5, (samples, channels, height, width, error)
    half = [None if tensor is None else tensor.half() for tensor in (maps, weight, bias, shift)]
    half = group_norm(half[0], groups, half[1], half[2], 1e-5, silu, half[3])
    assert half.dtype == torch.float16
    assert float((half.double() - expected).norm() / expected.norm()) < 2e-3
"""


def maps(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator).contiguous(memory_format=torch.channels_last)


def randomized(norm: nn.GroupNorm) -> None:
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)


def test_names_and_values_are_torchs() -> None:
    ours, theirs = GroupNorm(4, 16, silu=False), nn.GroupNorm(4, 16)
    randomized(theirs)
    ours.load_state_dict(theirs.state_dict())
    x = maps(3, 16, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x))
    assert ours(x).is_contiguous(memory_format=torch.channels_last)


def test_a_shift_goes_before_and_silu_behind() -> None:
    norm = GroupNorm(4, 16, silu=True)
    randomized(norm)
    x, shift = maps(6, 16, 5, 7), torch.randn(2, 16)
    expected = x + torch.stack([shift[row // 3] for row in range(6)])[..., None, None]
    expected = functional.silu(functional.group_norm(expected, 4, norm.weight, norm.bias))
    torch.testing.assert_close(norm(x, shift), expected)


def test_the_kernels_in_the_interpreter() -> None:
    assert_holds_interpreted(CASES)
