"""Our feed-forward layer is diffusers', and so is its GPU kernel, here in Triton's interpreter."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention import FeedForward as DiffusersFeedForward

from pos.networks.layers.feed_forward import FeedForward
from tests.triton_interpreter import assert_holds_interpreted

CASES = """
import torch
from torch.nn import functional
from pos.networks.layers.feed_forward_kernel import geglu

torch.manual_seed(0)
for shape in [(3, 5, 16), (2, 2048), (1, 7, 2 * 1280), (4, 2)]:
    projected = 3 * torch.randn(shape)
    value, gate = projected.double().chunk(2, dim=-1)
    expected = value * functional.gelu(gate)
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float16, 2e-3)):
        found = geglu(projected.to(dtype))
        assert found.dtype == dtype and found.shape == expected.shape
        assert float((found.double() - expected).norm() / expected.norm()) < tolerance, (shape, dtype)
    wide = torch.randn(shape[0], *shape[1:-1], 2 * shape[-1])[..., ::2]
    assert torch.equal(geglu(wide), geglu(wide.contiguous()))
"""


@pytest.mark.parametrize("mult", [2, 4])
def test_names_and_values_are_diffusers(mult: int) -> None:
    torch.manual_seed(0)
    ours, theirs = FeedForward(12, mult), DiffusersFeedForward(12, mult=mult)
    ours.load_state_dict(theirs.state_dict())
    tokens = torch.randn(2, 5, 12)
    torch.testing.assert_close(ours(tokens), theirs(tokens))


def test_the_kernel_in_the_interpreter() -> None:
    assert_holds_interpreted(CASES)
