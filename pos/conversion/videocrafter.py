"""VideoCrafter's checkpoints: one file with the UNet, the autoencoder, the text encoder and the schedule."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from pos.backbones.videocrafter import model_name, version_of
from pos.conversion.keys.ldm import from_ldm, to_ldm
from pos.conversion.keys.open_clip import from_open_clip, to_open_clip
from pos.conversion.keys.unet3d import from_videocrafter, to_videocrafter, videocrafter_config
from pos.conversion.keys.videocrafter09 import from_videocrafter09, to_videocrafter09
from pos.conversion.reading import read_checkpoint
from pos.conversion.writing import Part
from pos.errors import PosError
from pos.networks.autoencoder import build_autoencoder
from pos.networks.inflated.videocrafter import VideoCrafter09UNet, videocrafter09_config
from pos.networks.unet3d.unet import UNet3D
from pos.networks.weights import misfit

State = Mapping[str, Tensor]

# The published networks: unet_config.params of the authors' configurations, and what these say of the rest.
BASE = {
    "in_channels": 4, "model_channels": 320, "attention_resolutions": [4, 2, 1], "num_res_blocks": 2,
    "channel_mult": [1, 2, 4, 4], "temporal_length": 16, "use_relative_position": True,
}  # fmt: skip
V1 = {**BASE, "num_head_channels": 64, "context_dim": 1024, "temporal_conv": False}
UNETS: dict[str, dict[str, Any]] = {
    "v0.9": {**BASE, "num_heads": 8, "context_dim": 768},
    "vc1_512": V1,
    "vc1_1024": {**V1, "fps_cond": True},
    "vc2_512": {**V1, "fps_cond": True, "temporal_conv": True, "use_relative_position": False},
}
VAE = {
    "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4,
    "norm_num_groups": 32, "scaling_factor": 0.18215,
}  # fmt: skip
CLIP_L = {
    "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12,
    "hidden_act": "quick_gelu",
}  # fmt: skip
CLIP_H = {  # 24 layers, of which VideoCrafter leaves out the last
    "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 23,
    "hidden_act": "gelu",
}  # fmt: skip

# Beside the networks: the schedule, which our level tables compute, and what no text needs.
SCHEDULE = (
    "betas|alphas_cumprod|alphas_cumprod_prev|sqrt_alphas_cumprod|sqrt_one_minus_alphas_cumprod|"
    "log_one_minus_alphas_cumprod|sqrt_recip_alphas_cumprod|sqrt_recipm1_alphas_cumprod|posterior_variance|"
    "posterior_log_variance_clipped|posterior_mean_coef1|posterior_mean_coef2|scale_arr"
)
POSITIONS = r"cond_stage_model\.transformer\.text_model\.embeddings\.position_ids"
OUTPUT = r"cond_stage_model\.model\.(text_projection|logit_scale)"


@dataclass(frozen=True)
class Layout:
    """A network's place in a checkpoint: its prefix there, our names and shapes to theirs and back."""

    prefix: str
    config: dict[str, Any]
    expected: State
    theirs: Callable[[State], dict[str, Tensor]]
    ours: Callable[[State], dict[str, Tensor]]

    def published(self) -> dict[str, Tensor]:
        """What a checkpoint must hold of the network, without values."""
        return {self.prefix + name: tensor for name, tensor in self.theirs(self.expected).items()}

    def take(self, state: State) -> dict[str, Tensor]:
        """The network's tensors out of a checkpoint."""
        start = len(self.prefix)
        return self.ours({n[start:]: tensor for n, tensor in state.items() if n.startswith(self.prefix)})


class VideoCrafter:
    """The published ``.ckpt`` of a VideoCrafter model, into unet, vae and text.

    Args:
        version: ``v0.9``, ``vc1_512``, ``vc1_1024`` or ``vc2_512``.
        unet: changes of ``unet_config.params`` of the authors' configuration, for a network of other sizes.
        vae: changes of the constructor arguments of diffusers' AutoencoderKL.
        text: changes of transformers' CLIPTextConfig.

    Raises:
        PosError: an unknown version, or sizes that make no network.
    """

    def __init__(
        self,
        version: str,
        unet: Mapping[str, Any] | None = None,
        vae: Mapping[str, Any] | None = None,
        text: Mapping[str, Any] | None = None,
    ) -> None:
        self.version, self.open_clip = version, version_of(version).open_clip
        tower = CLIP_H if self.open_clip else CLIP_L
        with torch.device("meta"):
            self.layouts = {
                "unet": _unet(version, {**UNETS[version], **(unet or {})}),
                "vae": _vae({**VAE, **(vae or {})}),
                "text": _text({**tower, **(text or {})}, self.open_clip),
            }

    def __call__(self, source: Path) -> dict[str, Part]:
        """Read a checkpoint.

        Raises:
            PosError: it cannot be read, or weights are missing, of another shape or without a place in the
                networks (the first ten names of each, as they are in the checkpoint).
        """
        state = self._without_leftovers(read_checkpoint(source))
        expected: dict[str, Tensor] = {}
        for layout in self.layouts.values():
            expected |= layout.published()
        problems = misfit(state, expected)
        if problems:
            raise PosError(f"{source} is no checkpoint of {model_name(self.version)}: {problems}.")
        return {
            name: Part(layout.take(state), layout.config, model_name(self.version))
            for name, layout in self.layouts.items()
        }

    def _without_leftovers(self, state: State) -> dict[str, Tensor]:
        """A checkpoint without the entries that are known to have no use here; unknown ones stay."""
        if self.open_clip:
            unused = self.layouts["text"].config["num_hidden_layers"]
            layer = rf"cond_stage_model\.model\.transformer\.resblocks\.{unused}\..*"
            known = re.compile(rf"{SCHEDULE}|{OUTPUT}|{layer}")
        else:
            known = re.compile(rf"{SCHEDULE}|{POSITIONS}")
        return {name: tensor for name, tensor in state.items() if not known.fullmatch(name)}


def _unet(version: str, sizes: dict[str, Any]) -> Layout:
    prefix = "model.diffusion_model."
    if version == "v0.9":
        inflated = VideoCrafter09UNet(**videocrafter09_config(sizes))
        maps = partial(to_videocrafter09, network=inflated), partial(from_videocrafter09, network=inflated)
        return Layout(prefix, inflated.config, inflated.state_dict(), *maps)
    unet = UNet3D(**videocrafter_config(sizes))
    maps = partial(to_videocrafter, network=unet), partial(from_videocrafter, network=unet)
    return Layout(prefix, unet.config, unet.state_dict(), *maps)


def _vae(config: dict[str, Any]) -> Layout:
    vae = build_autoencoder(config)
    maps = partial(to_ldm, vae=vae), partial(from_ldm, vae=vae)
    return Layout("first_stage_model.", config, vae.state_dict(), *maps)


def _text(config: dict[str, Any], open_clip: bool) -> Layout:
    expected = CLIPTextModel(CLIPTextConfig(**config)).state_dict()
    if open_clip:
        return Layout("cond_stage_model.model.", config, expected, to_open_clip, from_open_clip)
    return Layout("cond_stage_model.transformer.text_model.", config, expected, dict, dict)
