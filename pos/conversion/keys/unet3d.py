"""VideoCrafter1's and 2's own names of the network (LVDM, AILab-CVC 11bcd76f), and ours, both ways.

Theirs stand after ``model.diffusion_model.`` in the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from pos.errors import PosError
from pos.networks.unet3d.unet import UNet3D

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "transformer_in": "init_attn.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "fps_embedding.linear_1": "fps_embedding.0",
    "fps_embedding.linear_2": "fps_embedding.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
TEMPORAL_CONV = "temopral_conv"  # their spelling
# entries of a published configuration that are not used, with the only values that we support
FIXED = {
    "transformer_depth": 1, "temporal_transformer_depth": 1, "temporal_attention": True,
    "temporal_selfatt_only": True, "addition_attention": True, "use_causal_attention": False,
    "use_image_attention": False, "tempspatial_aware": False, "resblock_updown": False, "conv_resample": True,
    "use_scale_shift_norm": False, "num_heads": -1, "dims": 2,
}  # fmt: skip


def videocrafter_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :class:`UNet3D` from a published ``unet_config.params`` of VideoCrafter1 or 2.

    Raises:
        PosError: the configuration has a part that the published models do not have.
    """
    fixed = {**FIXED, "out_channels": config["in_channels"]}
    other = {name: config[name] for name, value in fixed.items() if config.get(name, value) != value}
    if config["channel_mult"][0] != 1:
        other["channel_mult"] = config["channel_mult"]
    if other:
        raise PosError(f"Only networks of VideoCrafter 1 and 2 load, not one with {other}.")
    multiples = config["channel_mult"]
    return {
        "in_channels": config["in_channels"],
        "block_out_channels": [config["model_channels"] * multiple for multiple in multiples],
        "attention_levels": [2**level in config["attention_resolutions"] for level in range(len(multiples))],
        "layers_per_block": config["num_res_blocks"],
        "head_dim": config["num_head_channels"],
        "cross_attention_dim": config["context_dim"],
        "temporal_conv": config.get("temporal_conv", False),
        "relative_positions": config["temporal_length"]
        if config.get("use_relative_position", True)
        else None,
        "fps_embedding": config.get("fps_cond", False),
    }


def to_videocrafter(state: Mapping[str, Tensor], network: UNet3D) -> dict[str, Tensor]:
    """Our tensors under VideoCrafter's names, in VideoCrafter's shapes.

    Raises:
        PosError: a name that the network lacks.
    """
    modules = lvdm_modules(network)
    return {rename(name, modules): _their_shape(name, tensor) for name, tensor in state.items()}


def from_videocrafter(state: Mapping[str, Tensor], network: UNet3D) -> dict[str, Tensor]:
    """VideoCrafter's tensors, without their prefix, under our names and in our shapes.

    Raises:
        PosError: a name that the network lacks.
    """
    modules = {theirs: ours for ours, theirs in lvdm_modules(network).items()}
    return {rename(name, modules): _our_shape(name, tensor) for name, tensor in state.items()}


def rename(name: str, modules: Mapping[str, str]) -> str:
    """A tensor's name with the longest module that it starts with replaced."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:end])
        if module in modules:
            return ".".join([modules[module], *parts[end:]])
    raise PosError(f"The weight '{name}' is unknown: it is none of this VideoCrafter network.")


def _their_shape(name: str, tensor: Tensor) -> Tensor:
    """Theirs projects into and out of the first transformer with convolutions of width 1."""
    convolved = name.startswith("transformer_in.proj_") and tensor.ndim == 2
    return tensor.unsqueeze(-1) if convolved else tensor


def _our_shape(name: str, tensor: Tensor) -> Tensor:
    """Projections as matrices: where theirs is a convolution of width 1 it has axes of size 1 at the end."""
    if ".proj_in." in name or ".proj_out." in name:
        return tensor.flatten(1) if tensor.ndim > 2 else tensor
    return tensor


def lvdm_modules(network: nn.Module) -> dict[str, str]:
    """Our module names and theirs; residual blocks part by part, transformers whole, since their parts agree.

    Args:
        network: a :class:`UNet3D`, or VideoCrafter v0.9's, whose layers have one transformer.
    """
    present = {name for name, _ in network.named_modules()}
    named = {**OUTSIDE, **dict(_down(network)), **dict(_middle(network)), **dict(_up(network))}
    return {ours: theirs for ours, theirs in named.items() if ours in present}


def _down(network: nn.Module) -> Iterator[tuple[str, str]]:
    block = 1
    for level, stage in enumerate(network.down_blocks):
        for layer in range(len(stage.resnets)):
            yield from _layer(f"down_blocks.{level}", layer, f"input_blocks.{block}", 0)
            block += 1
        for _ in stage.downsamplers:
            yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{block}.0.op"
            block += 1


def _middle(network: nn.Module) -> Iterator[tuple[str, str]]:
    yield from _layer("mid_block", 0, "middle_block", 0)
    yield from _layer("mid_block", 1, "middle_block", _length(network.mid_block))


def _up(network: nn.Module) -> Iterator[tuple[str, str]]:
    block = 0
    for level, stage in enumerate(network.up_blocks):
        for layer in range(len(stage.resnets)):
            yield from _layer(f"up_blocks.{level}", layer, f"output_blocks.{block}", 0)
            block += 1
        place = _length(stage)  # after the last layer's resnet and transformers
        yield f"up_blocks.{level}.upsamplers.0.conv", f"output_blocks.{block - 1}.{place}.conv"


def _length(stage: nn.Module) -> int:
    """The modules of the stage's layers: a resnet, and a spatial and perhaps a temporal transformer."""
    return 1 + bool(stage.attentions) + bool(getattr(stage, "temp_attentions", ()))


def _layer(stage: str, layer: int, block: str, first: int) -> Iterator[tuple[str, str]]:
    """One layer: resnet with its temporal convolutions, spatial and temporal transformer, as a sequence."""
    for ours, theirs in RESNET.items():
        yield f"{stage}.resnets.{layer}.{ours}", f"{block}.{first}.{theirs}"
    yield f"{stage}.temp_convs.{layer}", f"{block}.{first}.{TEMPORAL_CONV}"
    yield f"{stage}.attentions.{layer}", f"{block}.{first + 1}"
    yield f"{stage}.temp_attentions.{layer}", f"{block}.{first + 2}"
