"""Tiny VideoCrafter checkpoints in the layout that their authors publish, filled by the recordings' rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from pos.conversion.keys.ldm import to_ldm
from pos.conversion.keys.unet3d import to_videocrafter, videocrafter_config
from pos.conversion.keys.videocrafter09 import to_videocrafter09
from pos.diffusion.levels import alphas_cumprod
from pos.networks.autoencoder import build_autoencoder
from pos.networks.inflated.videocrafter import VideoCrafter09UNet, videocrafter09_config
from pos.networks.unet3d.unet import UNet3D
from tests.golden.recordings import Recording, fill, filled

RECORDED = {"v0.9": "vc09", "vc1_512": "vc1_512", "vc1_1024": "vc1_1024", "vc2_512": "vc2_512"}
SCALES = {"vc1_1024": 0.3, "vc2_512": 0.7}  # where the signal ends

# What convert.py is told of the sizes, beside the UNet's.
VAE = {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4}
TEXT = {"hidden_size": 24, "intermediate_size": 96, "num_attention_heads": 2, "num_hidden_layers": 2}


def recording(version: str) -> Recording:
    """Of the tiny UNet of a version."""
    return Recording(Path(__file__).parents[1] / "golden" / "backbones" / f"{RECORDED[version]}_unet.json")


def sizes(version: str) -> dict[str, dict[str, Any]]:
    """The sizes of the tiny networks, as arguments of the conversion."""
    return {"unet": recording(version).info["config"], "vae": VAE, "text": TEXT}


def write_checkpoint(path: Path, version: str) -> dict[str, Tensor]:
    """Write a whole checkpoint; its tensors by name."""
    state = {
        **prefixed("model.diffusion_model.", unet_state(version)),
        **prefixed("first_stage_model.", vae_state()),
        **(clip_state() if version == "v0.9" else open_clip_state()),
        **schedule(version),
    }
    torch.save({"state_dict": state, "global_step": 1, "epoch": 0}, path)
    return state


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def by_rule(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: filled(name, tensor.shape) for name, tensor in theirs.items()}


def unet_state(version: str) -> dict[str, Tensor]:
    config = recording(version).info["config"]
    if version == "v0.9":
        inflated = VideoCrafter09UNet(**videocrafter09_config(config))
        return by_rule(to_videocrafter09(inflated.state_dict(), inflated))
    unet = UNet3D(**videocrafter_config(config))
    return by_rule(to_videocrafter(unet.state_dict(), unet))


def vae_state() -> dict[str, Tensor]:
    vae = build_autoencoder({**VAE, "latent_channels": 4})
    return by_rule(to_ldm(vae.state_dict(), vae))


def clip_tower() -> CLIPTextModel:
    """v0.9's text encoder, in small."""
    return fill(CLIPTextModel(CLIPTextConfig(**TEXT, hidden_act="quick_gelu")))


def open_clip_tower() -> nn.Module:
    """The text encoder of VideoCrafter1 and 2, in small: open_clip's model without its image tower."""
    vision = open_clip.CLIPVisionCfg(layers=1, width=64, head_width=32, patch_size=16, image_size=32)
    text = open_clip.CLIPTextCfg(
        context_length=77,
        vocab_size=49408,
        width=TEXT["hidden_size"],
        heads=TEXT["num_attention_heads"],
        layers=TEXT["num_hidden_layers"] + 1,
    )
    model = open_clip.CLIP(16, vision, text)
    del model.visual
    return fill(model)


def clip_state() -> dict[str, Tensor]:
    """As transformers 4 named it; its numbered positions were part of the state."""
    state = prefixed("cond_stage_model.transformer.text_model.", clip_tower().state_dict())
    ids = torch.arange(77)[None]
    return {**state, "cond_stage_model.transformer.text_model.embeddings.position_ids": ids}


def open_clip_state() -> dict[str, Tensor]:
    return prefixed("cond_stage_model.model.", open_clip_tower().state_dict())


def schedule(version: str) -> dict[str, Tensor]:
    """The buffers of the diffusion, under their names; VideoCrafter2's scale is longer than its schedule."""
    names = (
        "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod", "posterior_variance", "posterior_log_variance_clipped",
        "posterior_mean_coef1", "posterior_mean_coef2",
    )  # fmt: skip
    buffers = {name: alphas_cumprod().float() for name in names}
    if version in SCALES:
        end = SCALES[version]
        buffers["scale_arr"] = torch.cat([torch.linspace(1, end, 400), torch.full((1000,), end)])
    return buffers
