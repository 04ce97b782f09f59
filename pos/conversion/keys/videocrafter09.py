"""VideoCrafter v0.9's own names and shapes of its network (LVDM, AILab-CVC 1f46314b), and ours, both ways.

Theirs stand after ``model.diffusion_model.`` in the published checkpoint. Their kernels have a third
dimension of size 1, for the frames.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from pos.conversion.keys.unet3d import lvdm_modules, rename
from pos.networks.inflated.videocrafter import VideoCrafter09UNet


def to_videocrafter09(state: Mapping[str, Tensor], network: VideoCrafter09UNet) -> dict[str, Tensor]:
    """Our tensors under VideoCrafter's names, in VideoCrafter's shapes.

    Raises:
        PosError: a name that the network lacks.
    """
    modules = lvdm_modules(network)
    return {
        rename(name, modules): tensor.unsqueeze(2) if tensor.ndim == 4 else tensor
        for name, tensor in state.items()
    }


def from_videocrafter09(state: Mapping[str, Tensor], network: VideoCrafter09UNet) -> dict[str, Tensor]:
    """VideoCrafter's tensors, without their prefix, under our names and in our shapes.

    Raises:
        PosError: a name that the network lacks.
    """
    modules = {theirs: ours for ours, theirs in lvdm_modules(network).items()}
    return {
        rename(name, modules): tensor.squeeze(2) if tensor.ndim == 5 else tensor
        for name, tensor in state.items()
    }
