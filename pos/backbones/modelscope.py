"""ModelScope's text-to-video model (Wang et al. 2023, arXiv 2308.06571), 1.7 billion parameters."""

from __future__ import annotations

import torch

from pos.backbones.base import Defaults
from pos.backbones.codec import spatial_factor
from pos.backbones.files import DiffusersFolder, build_text
from pos.backbones.latent import LatentDiffusion
from pos.backbones.text import ClipText
from pos.errors import PosError
from pos.networks.acceleration import Acceleration
from pos.networks.unet3d.unet import UNet3D, unet3d_config
from pos.storage import content_hash

HUB = "damo-vilab/text-to-video-ms-1.7b"


def load_modelscope(
    folder: str = HUB,
    pad_token: str = "!",
    steps: int = 50,
    guidance: float = 9.0,
    fps: float = 8,
    device: str | torch.device = "auto",
    precision: str = "fp16",
    decode_chunk: int = 16,
    acceleration: Acceleration = "none",
) -> LatentDiffusion:
    """ModelScope: 16 frames of 256x256.

    Args:
        folder: the published model in the diffusers layout, a local folder or a hub id in the local cache;
            weights in safetensors, whole or in half precision.
        pad_token: what fills a text up to 77 tokens, as the network was trained: OpenCLIP's has id 0.
        steps, guidance, fps: what is used where a run says nothing else.
        decode_chunk: frames that the autoencoder works on together.
        acceleration: ``none``, ``graph`` (a GPU's), ``compile`` or ``auto``.

    Raises:
        PosError: a part is absent, no safetensors file, or does not fit; a padding that is no token.
    """
    published = DiffusersFolder(folder, "ModelScope", HUB)
    network = published.load("unet", lambda config: UNet3D(**unet3d_config(config)))
    vae, tokenizer = published.vae(), published.tokenizer("tokenizer")
    pad_id = tokenizer.get_vocab().get(pad_token)
    if pad_id is None:
        raise PosError(f"pad_token={pad_token!r} is no token of {folder}: its authors used '!'.")
    factor = spatial_factor(vae)
    parts = published.fingerprint("unet", "vae", "text_encoder", "tokenizer", "scheduler")
    return LatentDiffusion(
        network,
        vae,
        ClipText(published.load("text_encoder", build_text), tokenizer, pad_id=pad_id),
        name="modelscope",
        defaults=Defaults(frames=16, height=256, width=256, steps=steps, guidance=guidance, fps=fps),
        fingerprint=content_hash(parts, pad_id),
        levels=published.levels(),
        unit=factor * 2 ** (len(network.config["block_out_channels"]) - 1),
        device=device,
        precision=precision,
        decode_chunk=decode_chunk,
        acceleration=acceleration,
    )
