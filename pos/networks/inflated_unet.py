"""The network of SCVideo and NPNet: an image UNet inflated to video (arXiv 2311.00949, section 4.2).

Block: conv2D (ResnetBlock2D) -> conv3D -> sparse-causal attention -> cross-attention -> two temporal
attentions -> feed-forward. The spatial layers keep Stable Diffusion's names and shapes, so that its weights
load, and the new layers start as the identity: on identical frames the network then equals the image model,
frame by frame. Every GroupNorm is per frame; a joint one (Tune-A-Video) breaks that equality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pos.errors import PosError
from pos.networks.inflated_blocks import InflatedTransformer, TemporalConv
from pos.networks.weights import rebuild, save_weights
from pos.storage import locate

Subset = Literal["scvideo", "all"]
NEW_LAYERS = ("temp_convs", "attn_temp1", "attn_temp2", "norm_temp1", "norm_temp2")
ATTENTIONS = ("attn1", "attn2")


class _Shared(NamedTuple):
    """What every layer has in common: widths of time and text embedding, groups, feed-forward multiple."""

    temb: int
    context: int
    groups: int
    feed_forward: int


class InflatedUNet(nn.Module):
    """A noise predictor for latent videos, eps(x_t, t, text).

    Args:
        in_channels: channels of the latents, in and out.
        block_out_channels: width of each level; each level but the last halves height and width.
        attention_levels: which levels have attention (the middle always has).
        layers_per_block: resnets of a level on the way down; one more on the way up.
        heads: attention heads of each level.
        cross_attention_dim: width of the text embeddings.
        groups: groups of every GroupNorm.
        feed_forward: hidden width of the feed-forwards in multiples of the level's width.
        gradient_checkpointing: recompute the layers in the backward pass to save memory.

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
        groups: int = 32,
        feed_forward: int = 4,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        widths, heads, attention = list(block_out_channels), list(heads), list(attention_levels)
        _check_levels(widths, heads, attention, groups)
        self.config: dict[str, Any] = {
            "in_channels": in_channels, "block_out_channels": widths, "attention_levels": attention,
            "layers_per_block": layers_per_block, "heads": heads, "cross_attention_dim": cross_attention_dim,
            "groups": groups, "feed_forward": feed_forward,
        }  # fmt: skip
        self.gradient_checkpointing = gradient_checkpointing
        shared = _Shared(4 * widths[0], cross_attention_dim, groups, feed_forward)

        self.time_proj = Timesteps(widths[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(widths[0], shared.temb)
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)

        skips, width = [widths[0]], widths[0]
        self.down_blocks = nn.ModuleList()
        for level, out in enumerate(widths):
            ins = [width] + [out] * (layers_per_block - 1)
            stage = Stage(ins, out, heads[level], len(ins) * attention[level], shared)
            if level < len(widths) - 1:
                stage.downsamplers.append(Downsample2D(out, use_conv=True, name="op"))
            skips += [out] * (len(ins) + len(stage.downsamplers))
            self.down_blocks.append(stage)
            width = out
        self.mid_block = Stage([width, width], width, heads[-1], 1, shared)
        self.up_blocks = nn.ModuleList()
        for level, out in reversed(list(enumerate(widths))):
            ins = [below + skips.pop() for below in [width] + [out] * layers_per_block]
            stage = Stage(ins, out, heads[level], len(ins) * attention[level], shared)
            if level > 0:
                stage.upsamplers.append(Upsample2D(out, use_conv=True))
            self.up_blocks.append(stage)
            width = out
        self.conv_norm_out = nn.GroupNorm(groups, width, eps=1e-5)
        self.conv_out = nn.Conv2d(width, in_channels, 3, padding=1)

    def forward(self, latents: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """The predicted noise.

        Args:
            latents: (b, c, f, h, w); any number of frames; h and w multiples of 2 ** (levels - 1).
            timesteps: (b,), in [0, 999].
            context: text embeddings (b, n, cross_attention_dim).

        Returns:
            (b, c, f, h, w)
        """
        frames = latents.shape[2]
        maps = latents.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        temb = self.time_embedding(self.time_proj(timesteps).to(latents.dtype))
        temb = temb.repeat_interleave(frames, dim=0)

        maps = self.conv_in(maps)
        skips = [maps]
        for stage in self.down_blocks:
            for index in range(len(stage.resnets)):
                maps = self._layer(stage, index, maps, temb, context, frames)
                skips.append(maps)
            for downsampler in stage.downsamplers:
                maps = downsampler(maps)
                skips.append(maps)
        for index in range(len(self.mid_block.resnets)):
            maps = self._layer(self.mid_block, index, maps, temb, context, frames)
        for stage in self.up_blocks:
            for index in range(len(stage.resnets)):
                maps = torch.cat([maps, skips.pop()], dim=1)
                maps = self._layer(stage, index, maps, temb, context, frames)
            for upsampler in stage.upsamplers:
                maps = upsampler(maps)
        maps = self.conv_out(nn.functional.silu(self.conv_norm_out(maps)))
        return maps.unflatten(0, (-1, frames)).transpose(1, 2)

    def _layer(
        self, stage: Stage, index: int, maps: Tensor, temb: Tensor, context: Tensor, frames: int
    ) -> Tensor:
        if self.gradient_checkpointing and self.training:
            return checkpoint(stage.layer, index, maps, temb, context, frames, use_reentrant=False)
        return stage.layer(index, maps, temb, context, frames)

    def load_unet2d(self, state_dict: Mapping[str, Tensor]) -> list[str]:
        """Load an image UNet's weights; the new layers stay the identity.

        Returns:
            The names of the parameters that the image model does not have.

        Raises:
            PosError: a weight of the image model is missing, unknown here, or of another shape.
        """
        own = self.state_dict()
        new = [name for name in own if is_new(name)]
        absent = sorted(set(own) - set(new) - set(state_dict))
        unknown = sorted(set(state_dict) - set(own))
        shared = sorted(set(own) & set(state_dict))
        other = [name for name in shared if own[name].shape != state_dict[name].shape]
        for what, names in (("lacks", absent), ("has unknown", unknown), ("has other shapes for", other)):
            if names:
                raise PosError(f"The image UNet {what} {len(names)} weights, the first are {names[:10]}.")
        self.load_state_dict({**own, **state_dict})
        return new

    def trainable_parameters(self, subset: Subset) -> list[nn.Parameter]:
        """The parameters to train; all others are frozen by the caller not passing them to the optimiser.

        Args:
            subset: "scvideo" is the paper's for SCVideo started from an image model: the temporal
                convolutions and all attention modules (with the norms of the temporal ones, new as well);
                "all" is its choice for NPNet, and the one for a network without an image model's weights.

        Raises:
            PosError: another subset.
        """
        if subset == "all":
            return list(self.parameters())
        if subset == "scvideo":
            names = NEW_LAYERS + ATTENTIONS
            return [parameter for name, parameter in self.named_parameters() if _has_part(name, names)]
        raise PosError(f"The trainable subset '{subset}' is unknown: choose scvideo or all.")


class Stage(nn.Module):
    """A level of the way down or up, or the middle: layers of resnet, temporal convolution and transformer.

    Args:
        ins: input channels of each layer.
        out: output channels of all of them.
        attentions: how many of the layers, from the first, have a transformer (in the middle only the first).
    """

    def __init__(self, ins: Sequence[int], out: int, heads: int, attentions: int, shared: _Shared) -> None:
        super().__init__()
        temb, context, groups, feed_forward = shared
        self.resnets = nn.ModuleList(
            ResnetBlock2D(in_channels=width, out_channels=out, temb_channels=temb, groups=groups, eps=1e-5)
            for width in ins
        )
        self.temp_convs = nn.ModuleList(TemporalConv(out) for _ in ins)
        self.attentions = nn.ModuleList(
            InflatedTransformer(out, heads, context, groups, feed_forward) for _ in range(attentions)
        )
        self.downsamplers, self.upsamplers = nn.ModuleList(), nn.ModuleList()

    def layer(self, index: int, maps: Tensor, temb: Tensor, context: Tensor, frames: int) -> Tensor:
        maps = self.temp_convs[index](self.resnets[index](maps, temb), frames)
        return self.attentions[index](maps, context, frames) if index < len(self.attentions) else maps


def is_new(name: str) -> bool:
    """Whether a parameter belongs to a layer that the image model lacks."""
    return _has_part(name, NEW_LAYERS)


def _has_part(name: str, parts: Sequence[str]) -> bool:
    return not set(parts).isdisjoint(name.split("."))


def _check_levels(widths: list[int], heads: list[int], attention: list[bool], groups: int) -> None:
    if not len(widths) == len(heads) == len(attention) > 0:
        raise PosError(
            "block_out_channels, heads and attention_levels need one entry for each level, "
            f"not {widths}, {heads} and {attention}."
        )
    for width, count in zip(widths, heads, strict=True):
        if width % groups or width % count:
            raise PosError(f"{width} channels cannot be split into {groups} groups and {count} heads.")


def unet2d_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :class:`InflatedUNet` from the ``config.json`` of a diffusers UNet2DConditionModel.

    There ``attention_head_dim`` is the number of heads, whatever its name says.

    Raises:
        PosError: the image model has a part that SD 1.x lacks.
    """
    blocks = config["down_block_types"]
    if set(blocks) - {"CrossAttnDownBlock2D", "DownBlock2D"} or config.get("use_linear_projection"):
        raise PosError(f"Only image UNets of the Stable Diffusion 1.x layout inflate, not {blocks}.")
    heads = config["attention_head_dim"]
    return {
        "in_channels": config["in_channels"],
        "block_out_channels": list(config["block_out_channels"]),
        "attention_levels": [block == "CrossAttnDownBlock2D" for block in blocks],
        "layers_per_block": config["layers_per_block"],
        "heads": list(heads) if isinstance(heads, (list, tuple)) else [heads] * len(blocks),
        "cross_attention_dim": config["cross_attention_dim"],
        "groups": config["norm_num_groups"],
    }


def save_unet(unet: InflatedUNet, path: Path | str) -> None:
    """Write the weights (fp16) and the configuration."""
    save_weights(unet, path, unet.config)


def load_unet(path: Path | str) -> InflatedUNet:
    """An InflatedUNet in evaluation mode from a safetensors file whose metadata holds its configuration.

    Args:
        path: the file, or the name of a shipped asset.

    Raises:
        PosError: the file is absent, no safetensors file, without configuration, or does not fit it.
    """
    return rebuild(InflatedUNet, locate(path))
