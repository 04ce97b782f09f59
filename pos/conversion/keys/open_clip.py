"""A text tower's names in open_clip (VideoCrafter1 and 2), and those of transformers, both ways."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from pos.errors import PosError

OUTSIDE = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
INSIDE = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
THEIR_LAYER = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)[._](weight|bias)")
PROJECTIONS = ("q", "k", "v")  # one matrix in open_clip, in this order


def to_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of transformers' ``CLIPTextModel`` under open_clip's names, in its shapes."""
    theirs = {}
    for name, tensor in state.items():
        layer = LAYER.fullmatch(name)
        if layer is None:
            theirs[OUTSIDE[name]] = tensor
        elif layer[2] in INSIDE:
            theirs[f"transformer.resblocks.{layer[1]}.{INSIDE[layer[2]]}.{layer[3]}"] = tensor
        else:
            start, kind = f"encoder.layers.{layer[1]}.self_attn", layer[3]
            parts = [state[f"{start}.{letter}_proj.{kind}"] for letter in PROJECTIONS]
            theirs[f"transformer.resblocks.{layer[1]}.attn.in_proj_{kind}"] = torch.cat(parts)
    return theirs


def from_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's tensors, without their prefix, under the names of transformers' ``CLIPTextModel``.

    Raises:
        PosError: a name that no text tower has.
    """
    outside = {theirs: ours for ours, theirs in OUTSIDE.items()}
    inside = {theirs: ours for ours, theirs in INSIDE.items()}
    ours = {}
    for name, tensor in state.items():
        layer = THEIR_LAYER.fullmatch(name)
        if name in outside:
            ours[outside[name]] = tensor
        elif layer and layer[2] in inside:
            ours[f"encoder.layers.{layer[1]}.{inside[layer[2]]}.{layer[3]}"] = tensor
        elif layer and layer[2] == "attn.in_proj":
            start = f"encoder.layers.{layer[1]}.self_attn"
            parts = zip(PROJECTIONS, tensor.chunk(3), strict=True)
            ours |= {f"{start}.{letter}_proj.{layer[3]}": part for letter, part in parts}
        else:
            raise PosError(f"The weight '{name}' is unknown: it is none of an open_clip text tower.")
    return ours
