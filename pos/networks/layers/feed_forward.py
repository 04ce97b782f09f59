"""The feed-forward layer of diffusion transformers: a linear layer gated by GELU (GEGLU), and another one."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pos.devices import takes_kernels


class Geglu(nn.Module):
    """``a * gelu(b)`` of a linear layer's two halves a and b (Shazeer 2020), GELU by the error function.

    On a GPU in half precision both happen in one pass over memory, in float32, rounded once.
    """

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 2 * inner)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (..., dim) to (..., inner)."""
        projected = self.proj(tokens)
        if takes_kernels(projected):
            from pos.networks.layers.feed_forward_kernel import geglu

            return geglu(projected)
        value, gate = projected.chunk(2, dim=-1)
        return value * functional.gelu(gate)


class FeedForward(nn.Module):
    """Names as diffusers' layer of this name has them in its state dict.

    Args:
        dim: width of the tokens.
        mult: the inner width in units of ``dim``.
    """

    def __init__(self, dim: int, mult: int = 4) -> None:
        super().__init__()
        # diffusers has a dropout between the two, which no published model uses.
        self.net = nn.ModuleDict({"0": Geglu(dim, dim * mult), "2": nn.Linear(dim * mult, dim)})

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (..., dim) to the same shape."""
        return self.net["2"](self.net["0"](tokens))
