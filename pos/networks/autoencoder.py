"""The KL autoencoder of the latent space on disk, and the pixels around it.

diffusers' AutoencoderKL is trained, converted and saved; a file is loaded as our ``KLAutoencoder``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pos.errors import PosError
from pos.networks.kl_autoencoder import KLAutoencoder
from pos.networks.weights import load_weights, read_config, save_weights

if TYPE_CHECKING:
    from typing import TypeAlias

    from diffusers import AutoencoderKL

    Autoencoder: TypeAlias = AutoencoderKL | KLAutoencoder

FIXED = {
    "act_fn": "silu",
    "in_channels": 3,
    "out_channels": 3,
    "mid_block_add_attention": True,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "latents_mean": None,
    "latents_std": None,
    "shift_factor": None,
}
"""What a configuration of AutoencoderKL may say beside the arguments of ``KLAutoencoder``."""
SIZES = ("block_out_channels", "latent_channels", "norm_num_groups", "layers_per_block", "scaling_factor")


def build_autoencoder(config: Mapping[str, Any]) -> AutoencoderKL:
    """A new AutoencoderKL.

    Args:
        config: constructor arguments of diffusers' ``AutoencoderKL``; the up and down block types follow from
            ``block_out_channels``. The spatial factor is ``2 ** (len(block_out_channels) - 1)``.

    Raises:
        PosError: an argument that AutoencoderKL does not know.
    """
    from diffusers import AutoencoderKL

    levels = len(config["block_out_channels"])
    blocks = {
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
    }
    try:
        return AutoencoderKL(**{**blocks, **config})
    except TypeError as error:
        raise PosError(f"The autoencoder's configuration is not one of AutoencoderKL: {error}.") from error


def save_autoencoder(autoencoder: AutoencoderKL, path: Path | str) -> None:
    """Write the weights (fp16) and the configuration, ``scaling_factor`` included."""
    config = {name: value for name, value in autoencoder.config.items() if not name.startswith("_")}
    save_weights(autoencoder, path, config)


def load_autoencoder(path: Path | str) -> KLAutoencoder:
    """The autoencoder in evaluation mode from a safetensors file whose metadata holds its configuration.

    Raises:
        PosError: the file is absent, no safetensors file, without configuration, does not fit it, or is of an
            autoencoder with other layers.
    """
    config = read_config(path)
    if "block_out_channels" not in config:
        raise PosError(f"{path} holds no autoencoder configuration: 'block_out_channels' is missing there.")
    for name, value in FIXED.items():
        if config.get(name, value) != value:
            raise PosError(f"{path} has {name}={config[name]!r}; the only autoencoders here have {value!r}.")
    autoencoder = KLAutoencoder(**{name: config[name] for name in SIZES if name in config})
    load_weights(autoencoder, path)
    return autoencoder.eval().requires_grad_(False)


def to_unit_range(pixels: Tensor) -> Tensor:
    """uint8 0..255 to float -1..1."""
    return pixels.float().div(127.5).sub(1)


def to_pixels(images: Tensor) -> Tensor:
    """Float -1..1 to uint8 0..255, rounded; values outside are clamped."""
    return images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def reconstruct(autoencoder: Autoencoder, videos: Tensor) -> Tensor:
    """Videos uint8 (b, f, c, h, w) through the posterior mean and back, frame by frame, same layout."""
    frames = to_unit_range(videos.flatten(0, 1))
    latents = autoencoder.encode(frames).latent_dist.mean
    return to_pixels(autoencoder.decode(latents).sample).unflatten(0, videos.shape[:2])
