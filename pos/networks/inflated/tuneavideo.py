"""The network of Tune-A-Video (showlab/Tune-A-Video 7d4a89a2), and of the paper's retrained variant of it.

Block: sparse-causal attention -> cross-attention -> feed-forward -> temporal attention, without positions.
The GroupNorms of resnets and output are joint over the frames, those of the transformers per frame: an
untrained network equals its image model for one frame at best, and because the temporal attention's output
bias does not start at zero only roughly. Names and shapes are the original's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from pos.networks.inflated.blocks import (
    CrossAttention,
    InflatedTransformer,
    SparseCausalAttention,
    TemporalAttention,
)
from pos.networks.inflated.sizes import Sizes, published_sizes
from pos.networks.inflated.trunk import InflatedTrunk, Inflation
from pos.networks.layers.feed_forward import FeedForward


class TuneAVideoBlock(nn.Module):
    """Sparse-causal attention, cross-attention, feed-forward, temporal attention; pre-norm, residual.

    Of the temporal attention only the output's weight starts at zero, as in the original.
    """

    def __init__(self, dim: int, heads: int, context_dim: int, feed_forward: int = 4) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.attn1 = SparseCausalAttention(dim, heads)
        self.attn2 = CrossAttention(dim, heads, context_dim)
        self.ff = FeedForward(dim, mult=feed_forward)
        self.norm_temp = nn.LayerNorm(dim)
        self.attn_temp = TemporalAttention(dim, heads)
        nn.init.zeros_(self.attn_temp.to_out[0].weight)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Tokens (b, f, p, dim) and context (b, n, context_dim) to tokens."""
        tokens = tokens + self.attn1(self.norm1(tokens))
        tokens = tokens + self.attn2(self.norm2(tokens), context)
        tokens = tokens + self.ff(self.norm3(tokens))
        return tokens + self.attn_temp(self.norm_temp(tokens))


class TuneAVideoUNet(InflatedTrunk):
    """Tune-A-Video's noise predictor for latent videos, eps(x_t, t, text).

    Its trainable subset "tuneavideo" is the original's, for one video: the queries of the spatial attentions
    and the temporal attention, without its norm. "retrained" is the paper's for Tune-A-Video trained on many:
    all attentions, here with the norms of the temporal ones, and the temporal convolutions.

    Args:
        in_channels, block_out_channels, attention_levels, layers_per_block, heads, cross_attention_dim,
            groups, feed_forward: see :class:`Sizes`.
        temporal_convs: SCVideo's temporal convolution after every resnet, at first the identity: the 3D
            convolution of the paper's retrained variant, whose place and kernel it leaves open.
        gradient_checkpointing: recompute the layers in the backward pass to save memory.

    Raises:
        PosError: the levels do not agree in number, or a width cannot be split into groups and heads.
    """

    new_layers = ("temp_convs", "attn_temp", "norm_temp")
    subsets = {  # noqa: RUF012 (read only)
        "tuneavideo": ("attn1.to_q", "attn2.to_q", "attn_temp"),
        "retrained": ("attn1", "attn2", *new_layers),
    }

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
        temporal_convs: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        def transformer(width: int, count: int) -> InflatedTransformer:
            block = TuneAVideoBlock(width, count, cross_attention_dim, feed_forward)
            return InflatedTransformer(width, groups, joint_norm=False, blocks=[block])

        sizes = Sizes(
            in_channels, block_out_channels, attention_levels, layers_per_block, heads, cross_attention_dim,
            groups, feed_forward,
        )  # fmt: skip
        inflation = Inflation(transformer, joint_norm=True, temporal_convs=temporal_convs)
        super().__init__(sizes, inflation, gradient_checkpointing)
        self.config["temporal_convs"] = temporal_convs


def tuneavideo_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :class:`TuneAVideoUNet` from the ``unet/config.json`` that Tune-A-Video writes.

    Raises:
        PosError: the network has a part that one from Stable Diffusion 1.x lacks.
    """
    return published_sizes(config, "3D")
