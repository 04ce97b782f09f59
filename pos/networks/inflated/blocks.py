"""The layers that inflated image UNets share: norms, convolutions and attentions over the frames of a video.

Feature maps are (b*f, c, h, w) in channels-last memory, so that the tokens (b, f, h*w, c) of the attentions,
the maps (b, c, f, h*w) of the temporal convolution and the maps (b, c, f*h, w) of the joint norm are views
of it: rearranging them copies nothing. Names follow Stable Diffusion's state dict, so that an image UNet's
weights load as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pos.networks.layers.attention import Attention
from pos.networks.layers.group_norm import GroupNorm

MANY_ROWS = 8192  # of temporal attention, one a place: a training batch has more, a few videos have less


class VideoGroupNorm(GroupNorm):
    """GroupNorm of every frame by itself, or joint: of all frames of a video together.

    A joint norm lets the frames see each other, so that a network with it equals its image model on identical
    frames at best.
    """

    def __init__(self, groups: int, channels: int, eps: float, joint: bool, silu: bool = False) -> None:
        super().__init__(groups, channels, eps, silu)
        self.joint = joint

    def forward(self, maps: Tensor, frames: int, shift: Tensor | None = None) -> Tensor:
        """Feature maps (b*f, c, h, w), to which (b, c) is added first where given, to the same shape."""
        if not self.joint:
            return super().forward(maps, shift)
        video = maps.unflatten(0, (-1, frames)).transpose(1, 2)
        normed = super().forward(video.flatten(2, 3), shift)
        return normed.unflatten(2, (frames, -1)).transpose(1, 2).flatten(0, 1)


class Resnet(nn.Module):
    """Stable Diffusion's residual block (diffusers' ResnetBlock2D), with norms that know of frames.

    The time embedding is one a video: projected once, not once a frame.
    """

    def __init__(self, channels: int, out_channels: int, temb: int, groups: int, joint_norm: bool) -> None:
        super().__init__()
        self.norm1 = VideoGroupNorm(groups, channels, 1e-5, joint_norm, silu=True)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(temb, out_channels)
        self.norm2 = VideoGroupNorm(groups, out_channels, 1e-5, joint_norm, silu=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = channels == out_channels
        self.conv_shortcut = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, maps: Tensor, temb: Tensor, frames: int) -> Tensor:
        """Feature maps (b*f, c, h, w) and activated time embeddings (b, temb) to feature maps."""
        hidden = self.conv1(self.norm1(maps, frames))
        hidden = self.conv2(self.norm2(hidden, frames, self.time_emb_proj(temb)))
        return self.conv_shortcut(maps) + hidden


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


class CrossAttention(Attention):
    """All frames attend to the same text: tokens (b, f, p, dim), context (b, n, context_dim)."""

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        # As one long row of queries the text's keys are made once, not once a frame.
        return super().forward(tokens.flatten(1, 2), context).unflatten(1, tokens.shape[1:3])


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
    """Every place attends over its frames, whose order it does not know: tokens (b, f, p, dim)."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens.transpose(1, 2).contiguous()).transpose(1, 2)

    def mix(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if len(query) < MANY_ROWS:
            return super().mix(query, key, value)
        # A GPU's fused kernels, made for long rows, take twice the time of plain products here, and stop at
        # 65,535 rows.
        weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        return weights.float().softmax(-1).to(value.dtype) @ value


class InflatedTransformer(nn.Module):
    """SD's Transformer2D: GroupNorm, a 1x1 projection, blocks over tokens, a projection back; residual.

    Args:
        blocks: each called with tokens (b, f, p, channels) and the context.
        joint_norm: whether the norm is joint over the frames.
    """

    def __init__(self, channels: int, groups: int, joint_norm: bool, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.norm = VideoGroupNorm(groups, channels, 1e-6, joint_norm)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList(blocks)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, maps: Tensor, context: Tensor, frames: int) -> Tensor:
        """Feature maps (b*f, c, h, w) and context (b, n, context_dim) to feature maps."""
        hidden = self.proj_in(self.norm(maps, frames))
        tokens = hidden.permute(0, 2, 3, 1).flatten(1, 2).unflatten(0, (-1, frames))
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        hidden = tokens.flatten(0, 1).unflatten(1, maps.shape[2:]).permute(0, 3, 1, 2)
        return self.proj_out(hidden) + maps
