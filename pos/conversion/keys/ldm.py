"""The KL autoencoder's names in latent diffusion (CompVis; VideoCrafter too), and diffusers', both ways."""

from __future__ import annotations

import re
from collections.abc import Mapping

from diffusers import AutoencoderKL
from torch import Tensor

from pos.errors import PosError

RENAMED = [
    (r"conv_norm_out\.", "norm_out."),
    (r"conv_shortcut\.", "nin_shortcut."),
    (r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2"),
    (r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d+)\.resnets\.(\d+)", r"up.\1.block.\2"),
    (r"up_blocks\.(\d+)\.upsamplers\.0", r"up.\1.upsample"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
]


def to_ldm(state: Mapping[str, Tensor], vae: AutoencoderKL) -> dict[str, Tensor]:
    """The tensors of diffusers' autoencoder under latent diffusion's names, in its shapes."""
    names = _names(vae)
    return {names[name]: _their_shape(name, tensor) for name, tensor in state.items()}


def from_ldm(state: Mapping[str, Tensor], vae: AutoencoderKL) -> dict[str, Tensor]:
    """Latent diffusion's tensors, without their prefix, under diffusers' names and in its shapes.

    Raises:
        PosError: a name that the autoencoder lacks.
    """
    names = {theirs: ours for ours, theirs in _names(vae).items()}
    unknown = [name for name in state if name not in names]
    if unknown:
        raise PosError(f"The weight '{unknown[0]}' is unknown: it is none of this autoencoder.")
    return {names[name]: _our_shape(names[name], tensor) for name, tensor in state.items()}


def _names(vae: AutoencoderKL) -> dict[str, str]:
    """Our names with theirs; they count the levels of the decoder from the image on."""
    top = len(vae.config.block_out_channels) - 1
    names = {}
    for ours in vae.state_dict():
        theirs = ours
        for pattern, replacement in RENAMED:
            theirs = re.sub(pattern, replacement, theirs)
        names[ours] = re.sub(r"(?<=\bup\.)\d+", lambda level: str(top - int(level[0])), theirs)
    return names


def _their_shape(ours: str, tensor: Tensor) -> Tensor:
    """Their attention projects with convolutions of width 1."""
    return tensor[..., None, None] if _is_projection(ours) else tensor


def _our_shape(ours: str, tensor: Tensor) -> Tensor:
    return tensor.flatten(1) if _is_projection(ours) else tensor


def _is_projection(ours: str) -> bool:
    return ".attentions.0.to_" in ours and ours.endswith("weight")
