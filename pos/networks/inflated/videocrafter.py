"""The network of VideoCrafter v0.9 (LVDM; AILab-CVC/VideoCrafter 1f46314b, base_t2v).

Block: spatial self-attention -> temporal attention -> cross-attention -> temporal attention -> feed-forward.
The temporal attentions know relative positions, whose distances clamp, so that any number of frames works.
Every GroupNorm is joint over the frames. Names inside a block are the original's; the others are Stable
Diffusion's (see ``pos.conversion.keys.videocrafter09``), and kernels have two dimensions where the original's
have a third of size 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from pos.errors import PosError
from pos.networks.inflated.blocks import CrossAttention, InflatedTransformer, TemporalAttention
from pos.networks.inflated.sizes import Sizes
from pos.networks.inflated.trunk import InflatedTrunk, Inflation
from pos.networks.layers.attention import Attention
from pos.networks.layers.feed_forward import FeedForward
from pos.networks.layers.relative_attention import RelativeAttention

GROUPS = 32  # of every GroupNorm


class RelativeTemporalAttention(TemporalAttention, RelativeAttention):
    """Every place attends over its frames, whose distances it knows: tokens (b, f, p, dim)."""


class VideoCrafter09Block(nn.Module):
    """Spatial, temporal, cross- and temporal attention, feed-forward; pre-norm, residual.

    Args:
        longest: distances in frames beyond this one share an embedding; None for no positions.
    """

    def __init__(self, dim: int, heads: int, context_dim: int, longest: int | None) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3, self.norm4, self.norm5 = (nn.LayerNorm(dim) for _ in range(5))
        self.attn1 = Attention(dim, heads)
        self.attn2 = CrossAttention(dim, heads, context_dim)
        self.attn1_tmp, self.attn2_tmp = (_temporal(dim, heads, longest) for _ in range(2))
        self.ff = FeedForward(dim)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Tokens (b, f, p, dim) and context (b, n, context_dim) to tokens."""
        tokens = tokens + self.attn1(self.norm1(tokens))
        tokens = tokens + self.attn1_tmp(self.norm4(tokens))
        tokens = tokens + self.attn2(self.norm2(tokens), context)
        tokens = tokens + self.attn2_tmp(self.norm5(tokens))
        return tokens + self.ff(self.norm3(tokens))


def _temporal(dim: int, heads: int, longest: int | None) -> TemporalAttention:
    return (
        TemporalAttention(dim, heads) if longest is None else RelativeTemporalAttention(dim, heads, longest)
    )


class VideoCrafter09UNet(InflatedTrunk):
    """VideoCrafter v0.9's noise predictor for latent videos, eps(x_t, t, text).

    Args:
        in_channels, block_out_channels, attention_levels, layers_per_block, heads, cross_attention_dim: see
            :class:`Sizes`.
        relative_positions: the longest distance in frames that the temporal attentions tell apart (16); None
            for no positions.
        depth: blocks of a transformer.

    Raises:
        PosError: the levels do not agree in number, or a width cannot be split into groups and heads.
    """

    def __init__(
        self,
        in_channels: int,
        block_out_channels: Sequence[int],
        attention_levels: Sequence[bool],
        layers_per_block: int,
        heads: Sequence[int],
        cross_attention_dim: int,
        relative_positions: int | None = 16,
        depth: int = 1,
    ) -> None:
        def transformer(width: int, count: int) -> InflatedTransformer:
            blocks = [
                VideoCrafter09Block(width, count, cross_attention_dim, relative_positions)
                for _ in range(depth)
            ]
            return InflatedTransformer(width, GROUPS, joint_norm=True, blocks=blocks)

        sizes = Sizes(
            in_channels, block_out_channels, attention_levels, layers_per_block, heads, cross_attention_dim
        )
        super().__init__(sizes, Inflation(transformer, joint_norm=True, temporal_convs=False))
        self.config = {
            "in_channels": in_channels, "block_out_channels": sizes.block_out_channels,
            "attention_levels": sizes.attention_levels, "layers_per_block": layers_per_block,
            "heads": sizes.heads, "cross_attention_dim": cross_attention_dim,
            "relative_positions": relative_positions, "depth": depth,
        }  # fmt: skip


# What the network computes of the options in VideoCrafter's model_config.yaml; an absent one has this value.
FIXED = {
    "conv_resample": True, "dims": 3, "num_classes": None, "use_scale_shift_norm": False,
    "resblock_updown": False, "kernel_size_t": 1, "padding_t": 0, "use_temporal_transformer": True,
    "nonlinearity_type": "silu", "ST_transformer_module": "attention_temporal",
    "ST_transformer_class": "SpatialTemporalTransformer",
}  # fmt: skip


def videocrafter09_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :class:`VideoCrafter09UNet` from ``unet_config.params`` of VideoCrafter v0.9.

    Raises:
        PosError: the configuration asks for a part that the published network lacks.
    """
    fixed = {**FIXED, "out_channels": config["in_channels"]}
    other = {name: config[name] for name, value in fixed.items() if config.get(name, value) != value}
    if other:
        raise PosError(f"Only networks of VideoCrafter v0.9's layout load, not one with {other}.")
    multiples, head_dim = config["channel_mult"], config.get("num_head_channels", -1)
    widths = [config["model_channels"] * multiple for multiple in multiples]
    count = config.get("num_heads", -1)
    return {
        "in_channels": config["in_channels"],
        "block_out_channels": widths,
        "attention_levels": [2**level in config["attention_resolutions"] for level in range(len(multiples))],
        "layers_per_block": config["num_res_blocks"],
        "heads": [count if head_dim == -1 else width // head_dim for width in widths],
        "cross_attention_dim": config["context_dim"],
        "relative_positions": config["temporal_length"] if config.get("use_relative_position") else None,
        "depth": config.get("transformer_depth", 1),
    }
