"""Multi-head attention with the names of Stable Diffusion's state dict."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention from tokens to a context: (..., n, dim) and (..., m, context_dim)."""

    def __init__(self, dim: int, heads: int, context_dim: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(context_dim or dim, dim, bias=False)
        self.to_v = nn.Linear(context_dim or dim, dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        context = tokens if context is None else context
        return self.attend(self.to_q(tokens), self.to_k(context), self.to_v(context))

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch = query.shape[:-2]
        split = [x.flatten(0, -3).unflatten(2, (self.heads, -1)).transpose(1, 2) for x in (query, key, value)]
        mixed = self.mix(*split)
        return self.to_out[0](mixed.transpose(1, 2).flatten(2).unflatten(0, batch))

    def mix(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The weighted values: (n, heads, tokens, d) of all three to the query's shape."""
        return functional.scaled_dot_product_attention(query, key, value)
