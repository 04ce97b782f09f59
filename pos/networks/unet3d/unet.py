"""The network of ModelScope, VideoCrafter1 and VideoCrafter2: an image UNet with temporal layers between.

Layer: resnet -> temporal convolutions -> spatial transformer -> temporal transformer. Names and shapes are
those of diffusers' UNet3DConditionModel, so that ModelScope's published weights load as they are.
VideoCrafter (AILab-CVC, 11bcd76f) differs in three ways: the frame rate is embedded beside the time (VC1-1024
and VC2), and VC1 has relative positions but no temporal convolutions; its names: pos.conversion.keys.unet3d.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pos.errors import PosError
from pos.networks.layers.group_norm import GroupNorm
from pos.networks.layers.resampling import Downsample, Upsample
from pos.networks.layers.time_embedding import TimestepEmbedding, Timesteps
from pos.networks.unet3d.blocks import ResnetBlock, SpatialTransformer, TemporalConvLayer, TemporalTransformer

FIRST_HEADS = 8  # of the temporal transformer before the first level


class _Shared(NamedTuple):
    """What every layer has in common."""

    temb: int
    context: int
    head_dim: int
    groups: int
    temporal_conv: bool
    longest: int | None


class UNet3D(nn.Module):
    """A noise predictor for latent videos, eps(x_t, t, text). The defaults are ModelScope's.

    Args:
        in_channels: channels of the latents, in and out.
        block_out_channels: width of each level; each level but the last halves height and width.
        attention_levels: which levels have transformers (the middle always has).
        layers_per_block: layers of a level on the way down; one more on the way up.
        head_dim: width of an attention head.
        cross_attention_dim: width of the text embeddings.
        groups: groups of every GroupNorm.
        temporal_conv: whether temporal convolutions follow each resnet (all but VideoCrafter1).
        relative_positions: the longest distance in frames that the temporal attentions tell apart
            (VideoCrafter1: 16); None for no positions.
        fps_embedding: whether the frame rate is an input of the network (VideoCrafter1-1024 and 2).

    Raises:
        PosError: the levels do not agree in number, or a width cannot be split into groups and heads.
    """

    def __init__(
        self,
        in_channels: int = 4,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        attention_levels: Sequence[bool] = (True, True, True, False),
        layers_per_block: int = 2,
        head_dim: int = 64,
        cross_attention_dim: int = 1024,
        groups: int = 32,
        temporal_conv: bool = True,
        relative_positions: int | None = None,
        fps_embedding: bool = False,
    ) -> None:
        super().__init__()
        widths, attention = list(block_out_channels), list(attention_levels)
        _check_levels(widths, attention, head_dim, groups)
        self.config: dict[str, Any] = {
            "in_channels": in_channels, "block_out_channels": widths, "attention_levels": attention,
            "layers_per_block": layers_per_block, "head_dim": head_dim,
            "cross_attention_dim": cross_attention_dim, "groups": groups, "temporal_conv": temporal_conv,
            "relative_positions": relative_positions, "fps_embedding": fps_embedding,
        }  # fmt: skip
        first, temb = widths[0], 4 * widths[0]
        shared = _Shared(temb, cross_attention_dim, head_dim, groups, temporal_conv, relative_positions)

        self.time_proj = Timesteps(first)
        self.time_embedding = TimestepEmbedding(first, temb)
        if fps_embedding:
            self.fps_embedding = TimestepEmbedding(first, temb)
        self.conv_in = nn.Conv2d(in_channels, first, 3, padding=1)
        self.transformer_in = TemporalTransformer(
            first, FIRST_HEADS * head_dim, FIRST_HEADS, groups, relative_positions
        )
        skips, width = [first], first
        self.down_blocks = nn.ModuleList()
        for level, out in enumerate(widths):
            ins = [width] + [out] * (layers_per_block - 1)
            stage = UNet3DStage(ins, out, len(ins) * attention[level], shared)
            if level < len(widths) - 1:
                stage.downsamplers.append(Downsample(out))
            skips += [out] * (len(ins) + len(stage.downsamplers))
            self.down_blocks.append(stage)
            width = out
        self.mid_block = UNet3DStage([width, width], width, 1, shared)
        self.up_blocks = nn.ModuleList()
        for level, out in reversed(list(enumerate(widths))):
            ins = [below + skips.pop() for below in [width] + [out] * layers_per_block]
            stage = UNet3DStage(ins, out, len(ins) * attention[level], shared)
            if level > 0:
                stage.upsamplers.append(Upsample(out))
            self.up_blocks.append(stage)
            width = out
        self.conv_norm_out = GroupNorm(groups, width, silu=True)
        self.conv_out = nn.Conv2d(width, in_channels, 3, padding=1)

    def forward(
        self, latents: Tensor, timesteps: Tensor, context: Tensor, fps: Tensor | None = None
    ) -> Tensor:
        """The predicted noise.

        Args:
            latents: (b, c, f, h, w); any number of frames, any height and width.
            timesteps: (b,), in [0, 999].
            context: text embeddings (b, n, cross_attention_dim).
            fps: (b,), frames a second, for a network that embeds them.

        Returns:
            (b, c, f, h, w)

        Raises:
            PosError: a frame rate for a network without its embedding, or none for one with it.
        """
        frames = latents.shape[2]
        temb = self._embed_time(timesteps, fps, latents.dtype)
        maps = latents.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        maps = self.transformer_in(self.conv_in(maps), frames)
        skips = [maps]
        for stage in self.down_blocks:
            for index in range(len(stage.resnets)):
                maps = stage.layer(index, maps, temb, context, frames)
                skips.append(maps)
            for downsampler in stage.downsamplers:
                maps = downsampler(maps)
                skips.append(maps)
        for index in range(len(self.mid_block.resnets)):
            maps = self.mid_block.layer(index, maps, temb, context, frames)
        for stage in self.up_blocks:
            for index in range(len(stage.resnets)):
                maps = torch.cat([maps, skips.pop()], dim=1)
                maps = stage.layer(index, maps, temb, context, frames)
            for upsampler in stage.upsamplers:
                maps = upsampler(maps, skips[-1].shape[2:])
        maps = self.conv_out(self.conv_norm_out(maps))
        return maps.unflatten(0, (-1, frames)).transpose(1, 2)

    def _embed_time(self, timesteps: Tensor, fps: Tensor | None, dtype: torch.dtype) -> Tensor:
        """The time embedding of each video (b, temb), activated as every resnet wants it."""
        if (fps is not None) != self.config["fps_embedding"]:
            fault = "needs fps, the frame rate" if fps is None else "has no embedding of fps"
            raise PosError(f"This network {fault}: see fps in the backbone's configuration.")
        temb = self.time_embedding(self.time_proj(timesteps).to(dtype))
        if fps is not None:
            temb = temb + self.fps_embedding(self.time_proj(fps).to(dtype))
        return functional.silu(temb)


class UNet3DStage(nn.Module):
    """A level of the way down or up, or the middle.

    Args:
        ins: input channels of each layer.
        out: output channels of all of them.
        attentions: how many of the layers, from the first, have transformers (in the middle only the first).
    """

    def __init__(self, ins: Sequence[int], out: int, attentions: int, shared: _Shared) -> None:
        super().__init__()
        temb, context, head_dim, groups, temporal_conv, longest = shared
        heads = out // head_dim
        self.resnets = nn.ModuleList(ResnetBlock(width, out, temb, groups) for width in ins)
        self.temp_convs = nn.ModuleList(TemporalConvLayer(out, groups) for _ in ins if temporal_conv)
        self.attentions = nn.ModuleList(
            SpatialTransformer(out, heads, context, groups) for _ in range(attentions)
        )
        self.temp_attentions = nn.ModuleList(
            TemporalTransformer(out, out, heads, groups, longest) for _ in range(attentions)
        )
        self.downsamplers, self.upsamplers = nn.ModuleList(), nn.ModuleList()

    def layer(self, index: int, maps: Tensor, temb: Tensor, context: Tensor, frames: int) -> Tensor:
        maps = self.resnets[index](maps, temb)
        if index < len(self.temp_convs):
            maps = self.temp_convs[index](maps, frames)
        if index < len(self.attentions):
            maps = self.temp_attentions[index](self.attentions[index](maps, context), frames)
        return maps


def _check_levels(widths: list[int], attention: list[bool], head_dim: int, groups: int) -> None:
    if not len(widths) == len(attention) > 0:
        raise PosError(
            "block_out_channels and attention_levels need one entry for each level, "
            f"not {widths} and {attention}."
        )
    for width in widths:
        if width % groups or width % head_dim:
            raise PosError(f"{width} channels cannot be split into {groups} groups and heads of {head_dim}.")


def unet3d_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :class:`UNet3D` from the ``config.json`` of a diffusers UNet3DConditionModel.

    There ``attention_head_dim`` is the width of a head, as its name says.

    Raises:
        PosError: the model has a part that ModelScope's lacks.
    """
    down = config["down_block_types"]
    up = [block.replace("Up", "Down") for block in reversed(config["up_block_types"])]
    other = {name: config[name] for name, value in FIXED.items() if config.get(name, value) != value}
    if other or up != list(down) or set(down) - {"CrossAttnDownBlock3D", "DownBlock3D"}:
        raise PosError(f"Only networks of ModelScope's layout load, not one with {other or down}.")
    channels, out = config["in_channels"], config.get("out_channels", config["in_channels"])
    if channels != out:
        raise PosError(f"A network of {channels} channels in and {out} out predicts no noise.")
    return {
        "in_channels": channels,
        "block_out_channels": list(config["block_out_channels"]),
        "attention_levels": [block == "CrossAttnDownBlock3D" for block in down],
        "layers_per_block": config["layers_per_block"],
        "head_dim": config["attention_head_dim"],
        "cross_attention_dim": config["cross_attention_dim"],
        "groups": config.get("norm_num_groups", 32),
    }


# what a diffusers configuration may say beside, and must say as ModelScope does
FIXED = {
    "act_fn": "silu", "norm_eps": 1e-5, "downsample_padding": 1, "mid_block_scale_factor": 1,
    "num_attention_heads": None, "time_cond_proj_dim": None,
}  # fmt: skip
