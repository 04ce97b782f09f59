"""Tune-A-Video (Wu et al. 2023), tuned on one video as published or trained on many as the paper has it.

Its network is Stable Diffusion's inflated; autoencoder, text encoder and schedule are the image model's own,
which tuning leaves as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pos.backbones.base import Defaults
from pos.backbones.codec import spatial_factor
from pos.backbones.files import DiffusersFolder
from pos.backbones.latent import LatentDiffusion
from pos.backbones.scvideo import SD14
from pos.errors import PosError
from pos.networks.acceleration import Acceleration
from pos.networks.inflated.tuneavideo import TuneAVideoUNet, tuneavideo_config
from pos.networks.weights import rebuild
from pos.storage import content_hash, file_digest

TUNED = "Tune-A-Video-library/a-man-is-surfing"  # one of many


def load_tuneavideo(
    folder: str,
    image_model: str = SD14,
    frames: int = 24,
    height: int = 512,
    width: int = 512,
    fps: float = 8,
    steps: int = 50,
    guidance: float = 12.5,
    device: str | torch.device = "auto",
    precision: str = "fp16",
    decode_chunk: int = 8,
    acceleration: Acceleration = "none",
) -> LatentDiffusion:
    """Tune-A-Video tuned on one video, as its authors' code writes it.

    Args:
        folder: what tuning wrote, a local folder or a hub id in the local cache: ``unet/config.json`` and the
            weights beside it, made safetensors by ``convert.py weights=tuneavideo``.
        image_model: the Stable Diffusion 1.x that was tuned, in the diffusers layout, likewise.
        frames, height, width, fps, steps, guidance: see ``Defaults``.
        device, precision, decode_chunk, acceleration: see ``LatentDiffusion``.

    Raises:
        PosError: a part is absent, no safetensors file, or does not fit.
    """
    tuned = DiffusersFolder(folder, "Tune-A-Video", TUNED)
    _check_converted(tuned.root / "unet" / "diffusion_pytorch_model.bin")
    return _over_image_model(
        tuned.load("unet", _build),
        image_model,
        name="tuneavideo",
        defaults=Defaults(frames, height, width, steps, guidance, fps),
        weights=tuned.fingerprint("unet"),
        device=device,
        precision=precision,
        decode_chunk=decode_chunk,
        acceleration=acceleration,
    )


def load_retrained(
    unet: str,
    image_model: str = SD14,
    frames: int = 16,
    height: int = 256,
    width: int = 256,
    fps: float = 8,
    steps: int = 50,
    guidance: float = 12.5,
    device: str | torch.device = "auto",
    precision: str = "fp16",
    decode_chunk: int = 16,
    acceleration: Acceleration = "none",
) -> LatentDiffusion:
    """The paper's Tune-A-Video trained on many videos: with temporal convolutions.

    Args:
        unet: the trained network, safetensors with its configuration inside, as the training exports it.
        image_model: the Stable Diffusion 1.x that it started from, in the diffusers layout, a local folder or
            a hub id in the local cache.
        frames, height, width, fps, steps, guidance: see ``Defaults``.
        device, precision, decode_chunk, acceleration: see ``LatentDiffusion``.

    Raises:
        PosError: a part is absent, no safetensors file, or does not fit.
    """
    if not Path(unet).is_file():
        raise PosError(
            f"{unet} is absent: the weights of the paper's retrained Tune-A-Video are not public; give those "
            "of a network that you trained with backbone.unet=FILE."
        )
    return _over_image_model(
        rebuild(TuneAVideoUNet, unet),
        image_model,
        name="tuneavideo_retrained",
        defaults=Defaults(frames, height, width, steps, guidance, fps),
        weights=file_digest(Path(unet)),
        device=device,
        precision=precision,
        decode_chunk=decode_chunk,
        acceleration=acceleration,
    )


def _over_image_model(
    network: TuneAVideoUNet,
    image_model: str,
    *,
    name: str,
    defaults: Defaults,
    weights: str,
    device: str | torch.device,
    precision: str,
    decode_chunk: int,
    acceleration: Acceleration,
) -> LatentDiffusion:
    """The network with all else of the image model; ``weights`` is the fingerprint of its own."""
    image = DiffusersFolder(image_model, "Stable Diffusion 1.4", SD14, key="backbone.image_model")
    vae = image.vae()
    return LatentDiffusion(
        network,
        vae,
        image.text(),
        name=name,
        defaults=defaults,
        fingerprint=content_hash(weights, image.fingerprint("vae", "text_encoder", "tokenizer", "scheduler")),
        levels=image.levels(),
        unit=spatial_factor(vae),
        device=device,
        precision=precision,
        decode_chunk=decode_chunk,
        acceleration=acceleration,
    )


def _build(config: dict[str, Any]) -> TuneAVideoUNet:
    return TuneAVideoUNet(**tuneavideo_config(config))


def _check_converted(pickle: Path) -> None:
    if pickle.is_file() and not pickle.with_suffix(".safetensors").is_file():
        raise PosError(
            f"{pickle} is a pickle: convert it once with 'python experiments/convert.py weights=tuneavideo "
            f"source={pickle} out={pickle.parent}'."
        )
