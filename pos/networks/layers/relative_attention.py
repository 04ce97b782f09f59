"""Self-attention over frames that knows their distances (Shaw et al. 2018), as VideoCrafter has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pos.networks.layers.attention import Attention


class RelativePosition(nn.Module):
    """A learnt vector for each distance between two frames; beyond the longest they count as the longest."""

    def __init__(self, dim: int, longest: int) -> None:
        super().__init__()
        self.longest = longest
        self.embeddings_table = nn.Parameter(torch.empty(2 * longest + 1, dim))
        nn.init.xavier_uniform_(self.embeddings_table)

    def forward(self, frames: int) -> Tensor:
        """(frames, frames, dim): of each frame (first) to each (second)."""
        place = torch.arange(frames, device=self.embeddings_table.device)
        distance = (place[None, :] - place[:, None]).clamp(-self.longest, self.longest)
        return self.embeddings_table[distance + self.longest]


class RelativeAttention(Attention):
    """Attention whose keys and values each have a vector for the distance added.

    Args:
        longest: distances in frames beyond this one share an embedding.
    """

    def __init__(self, dim: int, heads: int, longest: int) -> None:
        super().__init__(dim, heads)
        self.relative_position_k = RelativePosition(dim // heads, longest)
        self.relative_position_v = RelativePosition(dim // heads, longest)

    def mix(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The weighted values: (n, heads, frames, d) of all three to the same shape."""
        frames = query.shape[2]
        query = query * query.shape[3] ** -0.5
        distances = torch.einsum("nhtd,tsd->nhts", query, self.relative_position_k(frames))
        weights = (query @ key.transpose(2, 3) + distances).softmax(-1)
        return weights @ value + torch.einsum("nhts,tsd->nhtd", weights, self.relative_position_v(frames))
