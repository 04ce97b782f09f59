"""The network of SCVideo and NPNet: an image UNet inflated to video (arXiv 2311.00949, section 4.2).

Block: conv2D (resnet) -> conv3D -> sparse-causal attention -> cross-attention -> two temporal attentions ->
feed-forward. The new layers start as the identity: on identical frames the network then equals the image
model, frame by frame. Every GroupNorm is per frame; a joint one (Tune-A-Video) breaks that equality.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pos.diffusion.levels import Schedule
from pos.errors import PosError
from pos.networks.inflated.blocks import (
    CrossAttention,
    InflatedTransformer,
    SparseCausalAttention,
    TemporalAttention,
)
from pos.networks.inflated.sizes import Sizes, published_sizes
from pos.networks.inflated.trunk import InflatedTrunk, Inflation
from pos.networks.layers.feed_forward import FeedForward
from pos.networks.layers.time_embedding import sinusoids
from pos.networks.weights import read_metadata, rebuild, save_weights
from pos.storage import locate

NEW_LAYERS = ("temp_convs", "attn_temp1", "attn_temp2", "norm_temp1", "norm_temp2")


class OrderedTemporalAttention(TemporalAttention):
    """Temporal attention with positions, zero at the start (output weight and bias).

    The frames' positions are sinusoidal and added to the input, so that any number of frames works. This is
    our choice: the paper leaves positions open, and without them forwards and backwards look the same.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        nn.init.zeros_(self.to_out[0].weight)
        nn.init.zeros_(self.to_out[0].bias)

    def forward(self, tokens: Tensor) -> Tensor:
        frames, dim = tokens.shape[1], tokens.shape[3]
        positions = sinusoids(torch.arange(frames, device=tokens.device), dim)
        return super().forward(tokens + positions.to(tokens.dtype)[:, None])


class SCVideoBlock(nn.Module):
    """Sparse-causal attention, cross-attention, two temporal attentions, feed-forward; pre-norm, residual.

    The paper leaves the feed-forward's place open; it ends the block as it does in Stable Diffusion.
    """

    def __init__(self, dim: int, heads: int, context_dim: int, feed_forward: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.attn1 = SparseCausalAttention(dim, heads)
        self.attn2 = CrossAttention(dim, heads, context_dim)
        self.norm_temp1, self.norm_temp2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn_temp1 = OrderedTemporalAttention(dim, heads)
        self.attn_temp2 = OrderedTemporalAttention(dim, heads)
        self.ff = FeedForward(dim, mult=feed_forward)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Tokens (b, f, p, dim) and context (b, n, context_dim) to tokens."""
        tokens = tokens + self.attn1(self.norm1(tokens))
        tokens = tokens + self.attn2(self.norm2(tokens), context)
        tokens = tokens + self.attn_temp1(self.norm_temp1(tokens))
        tokens = tokens + self.attn_temp2(self.norm_temp2(tokens))
        return tokens + self.ff(self.norm3(tokens))


class InflatedUNet(InflatedTrunk):
    """SCVideo's and NPNet's noise predictor for latent videos, eps(x_t, t, text).

    Its trainable subset "scvideo" is the paper's for SCVideo started from an image model: the temporal
    convolutions and all attention modules (with the norms of the temporal ones, new as well).

    Args:
        in_channels, block_out_channels, attention_levels, layers_per_block, heads, cross_attention_dim,
            groups, feed_forward: see :class:`Sizes`.
        gradient_checkpointing: recompute the layers in the backward pass to save memory.

    Raises:
        PosError: the levels do not agree in number, or a width cannot be split into groups and heads.
    """

    new_layers = NEW_LAYERS
    subsets = {"scvideo": (*NEW_LAYERS, "attn1", "attn2")}  # noqa: RUF012 (read only)

    def __init__(
        self,
        in_channels: int,
        block_out_channels: Sequence[int],
        attention_levels: Sequence[bool],
        layers_per_block: int,
        heads: Sequence[int],
        cross_attention_dim: int,
        groups: int = 32,
        feed_forward: int = 4,
        gradient_checkpointing: bool = False,
    ) -> None:
        def transformer(width: int, count: int) -> InflatedTransformer:
            block = SCVideoBlock(width, count, cross_attention_dim, feed_forward)
            return InflatedTransformer(width, groups, joint_norm=False, blocks=[block])

        sizes = Sizes(
            in_channels, block_out_channels, attention_levels, layers_per_block, heads, cross_attention_dim,
            groups, feed_forward,
        )  # fmt: skip
        inflation = Inflation(transformer, joint_norm=False, temporal_convs=True)
        super().__init__(sizes, inflation, gradient_checkpointing)


def unet2d_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :class:`InflatedUNet` from the ``config.json`` of a diffusers UNet2DConditionModel.

    Raises:
        PosError: the image model has a part that SD 1.x lacks.
    """
    return published_sizes(config, "2D")


def save_unet(unet: InflatedTrunk, path: Path | str, schedule: Schedule | None = None) -> None:
    """Write the weights (fp16), the configuration and the noise levels that the network was trained with."""
    record = None if schedule is None else {"schedule": json.dumps(asdict(schedule))}
    save_weights(unet, path, unet.config, record=record)


def load_schedule(path: Path | str) -> Schedule | None:
    """The noise levels that the network of a file was trained with; None where the file does not say.

    Raises:
        PosError: the file is absent, no safetensors file, or names unknown levels.
    """
    text = read_metadata(locate(path)).get("schedule")
    try:
        return None if text is None else Schedule(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise PosError(f"The schedule inside {path} is none: {error}.") from error


def load_unet(path: Path | str) -> InflatedUNet:
    """An InflatedUNet in evaluation mode from a safetensors file whose metadata holds its configuration.

    Args:
        path: the file, or the name of a shipped asset.

    Raises:
        PosError: the file is absent, no safetensors file, without configuration, or does not fit it.
    """
    return rebuild(InflatedUNet, locate(path))
