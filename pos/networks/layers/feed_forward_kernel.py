"""The GPU kernel of GEGLU, in Triton (which comes with torch's CUDA wheels): one pass instead of two."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

TILE = 1024  # values that a program makes


@triton.jit
def _geglu(projected, out, inner, tile: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * tile + tl.arange(0, tile)
    inside = column < inner
    value = tl.load(projected + row * 2 * inner + column, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(projected + (row * 2 + 1) * inner + column, mask=inside, other=0.0).to(tl.float32)
    gate = 0.5 * gate * (1.0 + tl.erf(gate * 0.7071067811865476))
    tl.store(out + row * inner + column, (value * gate).to(out.dtype.element_ty), mask=inside)


def geglu(projected: Tensor) -> Tensor:
    """``a * gelu(b)``.

    Args:
        projected: (..., 2 * inner), a and then b; half precision.

    Returns:
        (..., inner), of the same dtype.
    """
    projected = projected.contiguous()
    inner = projected.shape[-1] // 2
    out = projected.new_empty(*projected.shape[:-1], inner)
    rows = projected.numel() // (2 * inner)
    _geglu[(rows, triton.cdiv(inner, TILE))](projected, out, inner, tile=TILE)
    return out
