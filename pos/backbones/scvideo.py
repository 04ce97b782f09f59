"""SCVideo, the paper's own text-to-video model (arXiv 2311.00949): an inflated image UNet over latents.

The same network in two sizes: small, on the Shapes world, with weights that this repository ships and can
train; and at the size of Stable Diffusion 1.4, whose autoencoder and text encoder it then uses.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextModel, CLIPTokenizer

from pos.backbones.base import Defaults
from pos.backbones.files import fingerprint
from pos.backbones.latent import LatentDiffusion
from pos.backbones.text import ClipText
from pos.diffusion.levels import ddim_levels
from pos.errors import PosError
from pos.networks.autoencoder import load_autoencoder
from pos.networks.inflated_unet import InflatedUNet, load_unet, unet2d_config
from pos.networks.shapes_clip import load_clip
from pos.networks.tokenizer import load_tokenizer
from pos.networks.weights import load_weights
from pos.storage import locate


def load_shapes(
    unet: str = "shapes/scvideo.safetensors",
    autoencoder: str = "shapes/autoencoder.safetensors",
    clip: str = "shapes/clip.safetensors",
    tokenizer: str = "shapes/tokenizer.json",
    steps: int = 50,
    guidance: float = 4.0,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    compiled: bool = False,
) -> LatentDiffusion:
    """The small SCVideo of the Shapes world: 16 frames of 64x64, latents of 16x16x8x8.

    Its clean level has alpha 1: the last bit of noise, which Stable Diffusion leaves, would show in latents
    of this small a scale.

    Args:
        unet, autoencoder, clip, tokenizer: files, or names of shipped assets.
        steps, guidance: what is used where a run says nothing else.
        compiled: compile the network (torch.compile), worth its minute for thousands of videos on a GPU.

    Raises:
        PosError: a file is absent, no safetensors file, or does not fit its network.
    """
    files = [locate(name) for name in (unet, autoencoder, clip, tokenizer)]
    network, vae = load_unet(files[0]), load_autoencoder(files[1])
    backbone = LatentDiffusion(
        network,
        vae,
        ClipText(load_clip(files[2]).text.text_model, load_tokenizer(files[3])),
        name="shapes",
        defaults=Defaults(frames=16, height=64, width=64, steps=steps, guidance=guidance, fps=8),
        fingerprint=fingerprint(files),
        levels=partial(ddim_levels, final_alpha="one"),
        unit=_unit(network, vae),
        device=device,
        precision=precision,
    )
    if compiled:
        backbone.unet.compile()
    return backbone


def load_stable_diffusion(
    folder: str,
    unet: str,
    steps: int = 50,
    guidance: float = 9.0,
    device: str | torch.device = "auto",
    precision: str = "fp16",
) -> LatentDiffusion:
    """SCVideo at full size: 16 frames of 256x256, over Stable Diffusion 1.4's autoencoder and text encoder.

    Args:
        folder: Stable Diffusion 1.4 in the diffusers layout (``unet/config.json``, ``vae``, ``text_encoder``,
            ``tokenizer``), weights in safetensors.
        unet: the inflated network's weights.

    Raises:
        PosError: a part is absent, no safetensors file, or does not fit.
    """
    root = Path(folder)
    config = root / "unet" / "config.json"
    files = [
        Path(unet),
        root / "vae" / "diffusion_pytorch_model.safetensors",
        root / "text_encoder" / "model.safetensors",
        root / "tokenizer" / "vocab.json",
    ]
    for path in (config, *files):
        if not path.is_file():
            raise PosError(
                f"{path} is absent: SCVideo needs Stable Diffusion 1.4 in the diffusers layout "
                "(backbone.folder) and the weights of its own network (backbone.unet)."
            )
    network = InflatedUNet(**unet2d_config(json.loads(config.read_text())))
    load_weights(network, files[0])
    local = {"use_safetensors": True, "local_files_only": True}
    try:
        vae = AutoencoderKL.from_pretrained(root / "vae", low_cpu_mem_usage=False, **local)
        text = ClipText(
            CLIPTextModel.from_pretrained(root / "text_encoder", **local),
            CLIPTokenizer.from_pretrained(root / "tokenizer", local_files_only=True),
        )
    except (OSError, ValueError) as error:
        raise PosError(f"{root} is not a usable Stable Diffusion folder: {error}") from error
    return LatentDiffusion(
        network,
        vae,
        text,
        name="scvideo",
        defaults=Defaults(frames=16, height=256, width=256, steps=steps, guidance=guidance, fps=8),
        fingerprint=fingerprint(files),
        levels=ddim_levels,
        unit=_unit(network, vae),
        device=device,
        precision=precision,
    )


def _unit(unet: InflatedUNet, vae: AutoencoderKL) -> int:
    """Pixels that height and width are multiples of: the autoencoder halves them, then the network."""
    return 2 ** (len(vae.config.block_out_channels) + len(unet.config["block_out_channels"]) - 2)
