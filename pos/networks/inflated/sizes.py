"""The sizes of an image UNet that is inflated to video, and how diffusers' ``config.json`` says them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pos.errors import PosError

NEEDED = (
    "in_channels", "block_out_channels", "down_block_types", "layers_per_block", "attention_head_dim",
    "cross_attention_dim", "norm_num_groups",
)  # fmt: skip
# What the trunk computes of the other options of config.json; an absent one has this value.
FIXED = {
    "center_input_sample": False, "flip_sin_to_cos": True, "freq_shift": 0, "downsample_padding": 1,
    "mid_block_scale_factor": 1, "act_fn": "silu", "norm_eps": 1e-5, "only_cross_attention": False,
    "dual_cross_attention": False, "use_linear_projection": False, "class_embed_type": None,
    "num_class_embeds": None, "resnet_time_scale_shift": "default",
}  # fmt: skip


@dataclass
class Sizes:
    """The image UNet that is inflated.

    Attributes:
        in_channels: channels of the latents, in and out.
        block_out_channels: width of each level; each level but the last halves height and width.
        attention_levels: which levels have attention (the middle always has).
        layers_per_block: resnets of a level on the way down; one more on the way up.
        heads: attention heads of each level.
        cross_attention_dim: width of the text embeddings.
        groups: groups of every GroupNorm.
        feed_forward: hidden width of the feed-forwards in multiples of the level's width.

    Raises:
        PosError: the levels do not agree in number, or a width cannot be split into groups and heads.
    """

    in_channels: int
    block_out_channels: Sequence[int]
    attention_levels: Sequence[bool]
    layers_per_block: int
    heads: Sequence[int]
    cross_attention_dim: int
    groups: int = 32
    feed_forward: int = 4

    def __post_init__(self) -> None:
        self.block_out_channels, self.heads = list(self.block_out_channels), list(self.heads)
        self.attention_levels = list(self.attention_levels)
        widths, heads, attention = self.block_out_channels, self.heads, self.attention_levels
        if not len(widths) == len(heads) == len(attention) > 0:
            raise PosError(
                "block_out_channels, heads and attention_levels need one entry for each level, "
                f"not {widths}, {heads} and {attention}."
            )
        for width, count in zip(widths, heads, strict=True):
            if width % self.groups or width % count:
                raise PosError(
                    f"{width} channels cannot be split into {self.groups} groups and {count} heads."
                )


def published_sizes(config: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    """The arguments of :class:`Sizes` from the ``config.json`` of a UNet in diffusers' layout.

    There ``attention_head_dim`` is the number of heads, whatever its name says.

    Args:
        config: of a UNet2DConditionModel of Stable Diffusion 1.x, or of Tune-A-Video's UNet3DConditionModel.
        suffix: of its blocks' names, "2D" or "3D".

    Raises:
        PosError: the model has a part that Stable Diffusion 1.x lacks.
    """
    attention, plain = f"CrossAttnDownBlock{suffix}", f"DownBlock{suffix}"
    absent = [name for name in NEEDED if name not in config]
    if absent:
        raise PosError(f"The configuration is none of a UNet in diffusers' layout: it lacks {absent}.")
    blocks = config["down_block_types"]
    if set(blocks) - {attention, plain}:
        raise PosError(f"Only UNets of the Stable Diffusion 1.x layout inflate, not {list(blocks)}.")
    other = {name: config[name] for name, value in FIXED.items() if config.get(name, value) != value}
    if config.get("out_channels", config["in_channels"]) != config["in_channels"]:
        other["out_channels"] = config["out_channels"]
    if other:
        raise PosError(f"Only UNets of the Stable Diffusion 1.x layout inflate, not one with {other}.")
    heads = config["attention_head_dim"]
    return {
        "in_channels": config["in_channels"],
        "block_out_channels": list(config["block_out_channels"]),
        "attention_levels": [block == attention for block in blocks],
        "layers_per_block": config["layers_per_block"],
        "heads": list(heads) if isinstance(heads, (list, tuple)) else [heads] * len(blocks),
        "cross_attention_dim": config["cross_attention_dim"],
        "groups": config["norm_num_groups"],
    }
