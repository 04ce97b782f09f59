"""SCVideo, the paper's own text-to-video model (arXiv 2311.00949): an inflated image UNet over latents.

The same network in two sizes: small, on the Shapes world, with weights that this repository ships and can
train; and at the size of Stable Diffusion 1.4, whose autoencoder and text encoder it then uses.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pos.backbones.base import Defaults
from pos.backbones.files import DiffusersFolder, fingerprint
from pos.backbones.latent import LatentDiffusion
from pos.backbones.text import ClipText
from pos.diffusion.levels import Schedule, ddim_levels
from pos.errors import PosError
from pos.networks.acceleration import Acceleration
from pos.networks.autoencoder import load_autoencoder
from pos.networks.inflated.scvideo import InflatedUNet, load_schedule, load_unet, unet2d_config
from pos.networks.shapes.clip import load_clip
from pos.networks.shapes.tokenizer import load_tokenizer
from pos.networks.weights import load_weights
from pos.storage import content_hash, file_digest, locate

if TYPE_CHECKING:
    from pos.networks.autoencoder import Autoencoder

log = logging.getLogger(__name__)

SD14 = "CompVis/stable-diffusion-v1-4"

SHAPES_SCHEDULE = Schedule(shift=0.15, spacing="quadratic", prediction="v", final_alpha="one")
"""What Shapes' SCVideo and NPNet are trained with where their file names no other (conf/experiment/shapes).

A video repeats itself over frames and places: unshifted, the mean of its latents shows 0.88 of the
backgrounds at the noisiest level, and a model learns to read them there and not in the prompt. VideoCrafter's
signal scale has the same purpose. Under so much noise a small error in eps hides the clip: v is predicted.
"""


def load_shapes(
    unet: str = "shapes/scvideo.safetensors",
    autoencoder: str = "shapes/autoencoder.safetensors",
    clip: str = "shapes/clip.safetensors",
    tokenizer: str = "shapes/tokenizer.json",
    steps: int = 50,
    guidance: float = 2.0,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    decode_chunk: int = 256,
    acceleration: Acceleration = "none",
    name: str = "shapes",
) -> LatentDiffusion:
    """The small SCVideo of the Shapes world: 16 frames of 64x64, latents of 16x16x8x8.

    Args:
        unet, autoencoder, clip, tokenizer: files, or names of shipped assets. The network's file names its
            noise levels.
        steps, guidance: what is used where a run says nothing else.
        decode_chunk: frames that the autoencoder works on together.
        acceleration: ``none``, ``graph`` (a GPU's), ``compile`` (worth its minutes for thousands of videos
            on a GPU), or ``auto``.
        name: of the world, for provenance.

    Raises:
        PosError: a file is absent, no safetensors file, or does not fit its network.
    """
    files = [locate(name) for name in (unet, autoencoder, clip, tokenizer)]
    network, vae = load_unet(files[0]), load_autoencoder(files[1])
    return LatentDiffusion(
        network,
        vae,
        ClipText(load_clip(files[2]).text.text_model, load_tokenizer(files[3])),
        name=name,
        defaults=Defaults(frames=16, height=64, width=64, steps=steps, guidance=guidance, fps=8),
        fingerprint=fingerprint(files),
        levels=(load_schedule(files[0]) or SHAPES_SCHEDULE).levels,
        unit=_unit(network, vae),
        device=device,
        precision=precision,
        decode_chunk=decode_chunk,
        acceleration=acceleration,
    )


def load_stable_diffusion(
    folder: str = SD14,
    unet: str | None = None,
    steps: int = 50,
    guidance: float = 9.0,
    device: str | torch.device = "auto",
    precision: str = "fp16",
    decode_chunk: int = 16,
    acceleration: Acceleration = "none",
) -> LatentDiffusion:
    """SCVideo at full size: 16 frames of 256x256, over Stable Diffusion 1.4's autoencoder and text encoder.

    Args:
        folder: Stable Diffusion 1.4 in the diffusers layout, a local folder or a hub id in the local cache;
            weights in safetensors.
        unet: the inflated network's weights; None inflates the image model's, where training begins: every
            frame is then an image of its own.
        steps, guidance: what is used where a run says nothing else.
        decode_chunk: frames that the autoencoder works on together.
        acceleration: ``none``, ``graph`` (a GPU's), ``compile`` or ``auto``.

    Raises:
        PosError: a part is absent, no safetensors file, or does not fit.
    """
    published = DiffusersFolder(folder, "Stable Diffusion 1.4", SD14)
    network, vae = _full_size(published, unet), published.vae()
    parts = published.fingerprint("vae", "text_encoder", "tokenizer")
    own = published.fingerprint("unet") if unet is None else file_digest(Path(unet))
    return LatentDiffusion(
        network,
        vae,
        published.text(),
        name="scvideo",
        defaults=Defaults(frames=16, height=256, width=256, steps=steps, guidance=guidance, fps=8),
        fingerprint=content_hash(parts, own),
        levels=ddim_levels,
        unit=_unit(network, vae),
        device=device,
        precision=precision,
        decode_chunk=decode_chunk,
        acceleration=acceleration,
    )


def _full_size(published: DiffusersFolder, unet: str | None) -> InflatedUNet:
    """The network at the size of a published image UNet, with its own weights or the image model's."""
    from diffusers import UNet2DConditionModel

    network = InflatedUNet(**unet2d_config(published.config("unet/config.json")))
    if unet is None:
        log.warning(
            "SCVideo is untrained: its network is Stable Diffusion's, and frames know little of each other."
        )
        network.load_unet2d(published.load("unet", UNet2DConditionModel.from_config).state_dict())
        return network
    if not Path(unet).is_file():
        raise PosError(
            f"{unet} is absent: the weights of the paper's SCVideo are not public; give those of a network "
            "that you trained with backbone.unet=FILE, or backbone.unet=null for Stable Diffusion's."
        )
    load_weights(network, unet)
    return network


def _unit(unet: InflatedUNet, vae: Autoencoder) -> int:
    """Pixels that height and width are multiples of: the autoencoder halves them, then the network."""
    return 2 ** (len(vae.config.block_out_channels) + len(unet.config["block_out_channels"]) - 2)
