"""The layers of ModelScope's and VideoCrafter's networks (UNet3DConditionModel of diffusers, LVDM).

Feature maps are (b*f, c, h, w) in channels-last memory: the tokens (b*f, h*w, c) of the spatial layers and
the maps (b, c, f, h*w) of the temporal ones, whose norms join all frames, are views of them. Names follow
diffusers' state dict, so that published weights load as they are.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from pos.networks.layers.attention import Attention
from pos.networks.layers.feed_forward import FeedForward
from pos.networks.layers.group_norm import GroupNorm
from pos.networks.layers.relative_attention import RelativeAttention


def over_frames(maps: Tensor, frames: int) -> Tensor:
    """Maps (b*f, c, h, w) seen as (b, c, f, h*w)."""
    return maps.unflatten(0, (-1, frames)).flatten(3).transpose(1, 2)


def over_space(series: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (b, c, f, h*w) seen as (b*f, c, h, w); the inverse of :func:`over_frames`."""
    return series.transpose(1, 2).flatten(0, 1).unflatten(2, size)


class ResnetBlock(nn.Module):
    """A residual block over single frames, conditioned on the timestep.

    Args:
        ins, out: channels.
        temb: width of the time embedding.
    """

    def __init__(self, ins: int, out: int, temb: int, groups: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, ins, silu=True)
        self.conv1 = nn.Conv2d(ins, out, 3, padding=1)
        self.time_emb_proj = nn.Linear(temb, out)
        self.norm2 = GroupNorm(groups, out, silu=True)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(ins, out, 1) if ins != out else nn.Identity()

    def forward(self, maps: Tensor, temb: Tensor) -> Tensor:
        """Maps (b*f, ins, h, w) and the activated time embedding (b, temb) to maps (b*f, out, h, w)."""
        hidden = self.conv1(self.norm1(maps))
        hidden = self.conv2(self.norm2(hidden, self.time_emb_proj(temb)))
        return self.conv_shortcut(maps) + hidden


class FrameConv(nn.Conv3d):
    """A convolution over the frames, kernel (3, 1, 1), computed as a 2D one over (frames, h*w): faster."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, kernel_size=(3, 1, 1), padding=(1, 0, 0))

    def forward(self, series: Tensor) -> Tensor:
        """Maps (b, c, f, h*w) to the same shape."""
        return functional.conv2d(series, self.weight.squeeze(-1), self.bias, padding=(1, 0))


class TemporalConvLayer(nn.Module):
    """Four convolutions over the frames, each after a GroupNorm that joins all frames; residual.

    The identity at first: the last convolution starts at zero.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        # The numbers are places in diffusers' sequences of norm, SiLU, dropout (from conv2 on), convolution.
        for name, place in (("conv1", "2"), ("conv2", "3"), ("conv3", "3"), ("conv4", "3")):
            layers = {"0": GroupNorm(groups, channels, silu=True), place: FrameConv(channels)}
            self.add_module(name, nn.Sequential(OrderedDict(layers)))
        nn.init.zeros_(self.conv4[-1].weight)
        nn.init.zeros_(self.conv4[-1].bias)

    def forward(self, maps: Tensor, frames: int) -> Tensor:
        """Maps (b*f, c, h, w) to the same shape."""
        series = over_frames(maps, frames)
        hidden = self.conv4(self.conv3(self.conv2(self.conv1(series))))
        return over_space(series + hidden, maps.shape[2:])


class TransformerBlock(nn.Module):
    """Self-attention, a second one or attention to a context, feed-forward; pre-norm, residual.

    Args:
        context_dim: width of the context; None for self-attention again.
        longest: longest distance of relative positions; None for no positions.
    """

    def __init__(self, dim: int, heads: int, context_dim: int | None, longest: int | None) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        if longest is None:
            self.attn1, self.attn2 = Attention(dim, heads), Attention(dim, heads, context_dim)
        else:
            self.attn1, self.attn2 = (RelativeAttention(dim, heads, longest) for _ in range(2))
        self.ff = FeedForward(dim)

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        """Tokens (n, p, dim) to tokens; context (b, m, context_dim), each row for n / b rows of tokens."""
        tokens = tokens + self.attn1(self.norm1(tokens))
        queries = self.norm2(tokens)
        if context is not None:
            # All frames ask the same text: as one long row of queries its keys are made once.
            queries = queries.reshape(len(context), -1, queries.shape[2])
        tokens = tokens + self.attn2(queries, context).view_as(tokens)
        return tokens + self.ff(self.norm3(tokens))


class SpatialTransformer(nn.Module):
    """Every frame attends over its places and to the text; GroupNorm per frame."""

    def __init__(self, channels: int, heads: int, context_dim: int, groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            [TransformerBlock(channels, heads, context_dim, longest=None)]
        )
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, maps: Tensor, context: Tensor) -> Tensor:
        """Maps (b*f, c, h, w) and context (b, m, context_dim) to maps."""
        tokens = self.proj_in(self.norm(maps).permute(0, 2, 3, 1).flatten(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        return maps + self.proj_out(tokens).unflatten(1, maps.shape[2:]).permute(0, 3, 1, 2)


class TemporalTransformer(nn.Module):
    """Every place attends twice over its frames; GroupNorm joins all frames.

    Args:
        dim: width inside.
        longest: longest distance of relative positions; None for no positions.
    """

    def __init__(self, channels: int, dim: int, heads: int, groups: int, longest: int | None) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, dim)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(dim, heads, None, longest)])
        self.proj_out = nn.Linear(dim, channels)

    def forward(self, maps: Tensor, frames: int) -> Tensor:
        """Maps (b*f, c, h, w) to maps."""
        series = over_frames(maps, frames)
        # To (b*h*w, f, c), the one rearrangement that copies: the residual sum does the way back in passing.
        tokens = self.proj_in(self.norm(series).permute(0, 3, 2, 1).flatten(0, 1))
        for block in self.transformer_blocks:
            tokens = block(tokens)
        change = self.proj_out(tokens).unflatten(0, (len(series), -1)).permute(0, 3, 2, 1)
        return over_space(series + change, maps.shape[2:])
