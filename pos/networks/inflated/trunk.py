"""The trunk of an inflated image UNet: Stable Diffusion's UNet, its layers applied to all frames of a video.

SCVideo (``scvideo``), Tune-A-Video (``tuneavideo``) and VideoCrafter v0.9
(``videocrafter``) differ in what they add to it. The spatial layers keep Stable Diffusion's names
and shapes, so that its weights load.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pos.errors import PosError
from pos.networks.inflated.blocks import InflatedTransformer, Resnet, TemporalConv, VideoGroupNorm
from pos.networks.inflated.sizes import Sizes
from pos.networks.layers.resampling import Downsample, Upsample
from pos.networks.layers.time_embedding import TimestepEmbedding, Timesteps


class Inflation(NamedTuple):
    """What a video network makes of its image UNet.

    Attributes:
        transformer: (width, heads) to the transformer of a layer.
        joint_norm: whether the GroupNorms of resnets and output are joint over the frames.
        temporal_convs: whether a temporal convolution follows every resnet.
    """

    transformer: Callable[[int, int], InflatedTransformer]
    joint_norm: bool
    temporal_convs: bool


class InflatedTrunk(nn.Module):
    """A noise predictor for latent videos, eps(x_t, t, text).

    Args:
        sizes: of the image UNet.
        inflation: what makes it a video network.
        gradient_checkpointing: recompute the layers in the backward pass to save memory.

    Attributes:
        config: the constructor's arguments that rebuild the network, JSON-able.
        new_layers: names of the layers that the image model does not have.
        subsets: names of trainable subsets, and the layers of each; "all" needs no entry.
    """

    new_layers: ClassVar[tuple[str, ...]] = ()
    subsets: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, sizes: Sizes, inflation: Inflation, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.config: dict[str, Any] = asdict(sizes)
        self.gradient_checkpointing = gradient_checkpointing
        widths, layers, in_channels = sizes.block_out_channels, sizes.layers_per_block, sizes.in_channels
        temb = 4 * widths[0]

        self.time_proj = Timesteps(widths[0])
        self.time_embedding = TimestepEmbedding(widths[0], temb)
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)

        def stage(ins: list[int], out: int, level: int, attentions: int) -> InflatedStage:
            return InflatedStage(ins, out, sizes.heads[level], attentions, temb, sizes.groups, inflation)

        skips, width = [widths[0]], widths[0]
        self.down_blocks = nn.ModuleList()
        for level, out in enumerate(widths):
            ins = [width] + [out] * (layers - 1)
            block = stage(ins, out, level, len(ins) * sizes.attention_levels[level])
            if level < len(widths) - 1:
                block.downsamplers.append(Downsample(out))
            skips += [out] * (len(ins) + len(block.downsamplers))
            self.down_blocks.append(block)
            width = out
        self.mid_block = stage([width, width], width, -1, 1)
        self.up_blocks = nn.ModuleList()
        for level, out in reversed(list(enumerate(widths))):
            ins = [below + skips.pop() for below in [width] + [out] * layers]
            block = stage(ins, out, level, len(ins) * sizes.attention_levels[level])
            if level > 0:
                block.upsamplers.append(Upsample(out))
            self.up_blocks.append(block)
            width = out
        self.conv_norm_out = VideoGroupNorm(sizes.groups, width, 1e-5, inflation.joint_norm, silu=True)
        self.conv_out = nn.Conv2d(width, in_channels, 3, padding=1)

    def forward(self, latents: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """The predicted noise.

        Args:
            latents: (b, c, f, h, w); any number of frames, any height and width.
            timesteps: (b,), in [0, 999].
            context: text embeddings (b, n, cross_attention_dim).

        Returns:
            (b, c, f, h, w)
        """
        frames = latents.shape[2]
        maps = latents.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        temb = functional.silu(self.time_embedding(self.time_proj(timesteps).to(latents.dtype)))

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
                maps = upsampler(maps, skips[-1].shape[2:])
        maps = self.conv_out(self.conv_norm_out(maps, frames))
        return maps.unflatten(0, (-1, frames)).transpose(1, 2)

    def _layer(
        self, stage: InflatedStage, index: int, maps: Tensor, temb: Tensor, context: Tensor, frames: int
    ) -> Tensor:
        if self.gradient_checkpointing and self.training:
            return checkpoint(stage.layer, index, maps, temb, context, frames, use_reentrant=False)
        return stage.layer(index, maps, temb, context, frames)

    @classmethod
    def is_new(cls, name: str) -> bool:
        """Whether a parameter belongs to a layer that the image model does not have."""
        return _belongs(name, cls.new_layers)

    def load_unet2d(self, state_dict: Mapping[str, Tensor]) -> list[str]:
        """Load an image UNet's weights; the new layers stay as they are.

        Returns:
            The names of the parameters that the image model does not have.

        Raises:
            PosError: a weight of the image model is missing, unknown here, or of another shape.
        """
        own = self.state_dict()
        new = [name for name in own if self.is_new(name)]
        absent = sorted(set(own) - set(new) - set(state_dict))
        unknown = sorted(set(state_dict) - set(own))
        shared = sorted(set(own) & set(state_dict))
        other = [name for name in shared if own[name].shape != state_dict[name].shape]
        for what, names in (("lacks", absent), ("has unknown", unknown), ("has other shapes for", other)):
            if names:
                raise PosError(f"The image UNet {what} {len(names)} weights, the first are {names[:10]}.")
        self.load_state_dict({**own, **state_dict})
        return new

    def trainable_parameters(self, subset: str) -> list[nn.Parameter]:
        """The parameters to train; all others are frozen by the caller not passing them to the optimiser.

        Args:
            subset: a name in ``subsets``, or "all": the paper's choice for NPNet, and the one for a network
                without an image model's weights.

        Raises:
            PosError: another subset.
        """
        if subset == "all":
            return list(self.parameters())
        if subset not in self.subsets:
            known = ", ".join([*self.subsets, "all"])
            name = type(self).__name__
            raise PosError(f"The trainable subset '{subset}' is unknown to {name}: choose {known}.")
        layers = self.subsets[subset]
        return [parameter for name, parameter in self.named_parameters() if _belongs(name, layers)]


class InflatedStage(nn.Module):
    """A level of the way down or up, or the middle: layers of resnet, temporal convolution and transformer.

    Args:
        ins: input channels of each layer.
        out: output channels of all of them.
        attentions: how many of the layers, from the first, have a transformer (in the middle only the first).
        temb: width of the time embedding.
    """

    def __init__(
        self,
        ins: Sequence[int],
        out: int,
        heads: int,
        attentions: int,
        temb: int,
        groups: int,
        inflation: Inflation,
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(width, out, temb, groups, inflation.joint_norm) for width in ins)
        self.temp_convs = nn.ModuleList(TemporalConv(out) for _ in ins if inflation.temporal_convs)
        self.attentions = nn.ModuleList(inflation.transformer(out, heads) for _ in range(attentions))
        self.downsamplers, self.upsamplers = nn.ModuleList(), nn.ModuleList()

    def layer(self, index: int, maps: Tensor, temb: Tensor, context: Tensor, frames: int) -> Tensor:
        maps = self.resnets[index](maps, temb, frames)
        if self.temp_convs:
            maps = self.temp_convs[index](maps, frames)
        return self.attentions[index](maps, context, frames) if index < len(self.attentions) else maps


def _belongs(name: str, layers: Sequence[str]) -> bool:
    """Whether a parameter is in one of the layers, whose names may have several parts ("attn1.to_q")."""
    return any(f".{layer}." in f".{name}" for layer in layers)
