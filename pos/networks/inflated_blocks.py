"""The layers of an inflated image UNet: temporal convolution, sparse-causal attention and temporal attention.

Feature maps are (b*f, c, h, w) in channels-last memory, so that the tokens (b, f, h*w, c) of the attentions
and the maps (b, c, f, h*w) of the temporal convolution are views of it: rearranging them copies nothing.
Names follow Stable Diffusion's state dict, so that an image UNet's weights load as they are.
"""

from __future__ import annotations

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn
from torch.nn import functional


MANY_ROWS = 8192  # of temporal attention, one a place: a training batch has more, a few videos have less


class TemporalConv(nn.Conv3d):
    """SCVideo's conv3D: kernel (3, 1, 1) over the frames, at first the identity (Dirac weight, zero bias).

    Computed as a 2D convolution over (frames, h*w), which is many times faster than a 3D one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, kernel_size=(3, 1, 1), padding=(1, 0, 0))

    def reset_parameters(self) -> None:
        nn.init.dirac_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, maps: Tensor, frames: int) -> Tensor:
        """Feature maps (b*f, c, h, w) to the same shape."""
        size = maps.shape[2:]
        time_space = maps.unflatten(0, (-1, frames)).flatten(3).transpose(1, 2)
        mixed = functional.conv2d(time_space, self.weight.squeeze(-1), self.bias, padding=(1, 0))
        return mixed.transpose(1, 2).flatten(0, 1).unflatten(2, size)


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
        return self.to_out[0](self.mix(*split).transpose(1, 2).flatten(2).unflatten(0, batch))

    def mix(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Values (rows, heads, m, d) weighted by softmax(query key^T / sqrt(d)), (rows, heads, n, d)."""
        return functional.scaled_dot_product_attention(query, key, value)


class SparseCausalAttention(Attention):
    """Tune-A-Video's SC-Attn: tokens (b, f, p, dim) of a frame attend to those of frames 0 and i - 1.

    Frame 0 uses itself twice. Where all frames are the same it is the image model's self-attention.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        key, value = (_first_and_previous(projection(tokens)) for projection in (self.to_k, self.to_v))
        return self.attend(self.to_q(tokens), key, value)


def _first_and_previous(tokens: Tensor) -> Tensor:
    """Tokens (b, f, p, d) to those of frames 0 and i - 1 beside each other, (b, f, 2p, d)."""
    first = tokens[:, :1]
    return torch.cat([first.expand_as(tokens), torch.cat([first, tokens[:, :-1]], dim=1)], dim=2)


class TemporalAttention(Attention):
    """Every place attends over its frames: tokens (b, f, p, dim). Zero at the start (output weight and bias).

    The frames' positions are sinusoidal and added to the input, so that any number of frames works. This is
    our choice: the paper leaves positions open, and without them forwards and backwards look the same.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        nn.init.zeros_(self.to_out[0].weight)
        nn.init.zeros_(self.to_out[0].bias)

    def forward(self, tokens: Tensor) -> Tensor:
        frames, dim = tokens.shape[1], tokens.shape[3]
        positions = get_timestep_embedding(torch.arange(frames, device=tokens.device), dim)
        series = (tokens.transpose(1, 2) + positions.to(tokens.dtype)).contiguous()
        return super().forward(series).transpose(1, 2)

    def mix(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if len(query) < MANY_ROWS:
            return super().mix(query, key, value)
        # A GPU's fused kernels, made for long rows, take twice the time of plain products here, and stop at
        # 65,535 rows.
        weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        return weights.float().softmax(-1).to(value.dtype) @ value


class InflatedTransformerBlock(nn.Module):
    """Sparse-causal attention, cross-attention, two temporal attentions, feed-forward; pre-norm, residual.

    The paper leaves the feed-forward's place open; it ends the block as it does in Stable Diffusion.
    """

    def __init__(self, dim: int, heads: int, context_dim: int, feed_forward: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.attn1 = SparseCausalAttention(dim, heads)
        self.attn2 = Attention(dim, heads, context_dim)
        self.norm_temp1, self.norm_temp2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn_temp1, self.attn_temp2 = TemporalAttention(dim, heads), TemporalAttention(dim, heads)
        self.ff = FeedForward(dim, mult=feed_forward)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Tokens (b, f, p, dim) and context (b, n, context_dim) to tokens."""
        tokens = tokens + self.attn1(self.norm1(tokens))
        # All frames ask the same text: as one long row of queries its keys are made once, not once a frame.
        queries = self.norm2(tokens).flatten(1, 2)
        tokens = tokens + self.attn2(queries, context).unflatten(1, tokens.shape[1:3])
        tokens = tokens + self.attn_temp1(self.norm_temp1(tokens))
        tokens = tokens + self.attn_temp2(self.norm_temp2(tokens))
        return tokens + self.ff(self.norm3(tokens))


class InflatedTransformer(nn.Module):
    """SD's Transformer2D: GroupNorm per frame, a 1x1 projection, a block over tokens, one back; residual."""

    def __init__(self, channels: int, heads: int, context_dim: int, groups: int, feed_forward: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        block = InflatedTransformerBlock(channels, heads, context_dim, feed_forward)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, maps: Tensor, context: Tensor, frames: int) -> Tensor:
        """Feature maps (b*f, c, h, w) and context (b, n, context_dim) to feature maps."""
        hidden = self.proj_in(self.norm(maps))
        tokens = hidden.permute(0, 2, 3, 1).flatten(1, 2).unflatten(0, (-1, frames))
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        hidden = tokens.flatten(0, 1).unflatten(1, maps.shape[2:]).permute(0, 3, 1, 2)
        return self.proj_out(hidden) + maps
