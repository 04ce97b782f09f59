"""VideoCrafter v0.9, 1 and 2 (AILab-CVC, 1f46314b and 11bcd76f), from files that ``convert.py`` wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel
from transformers.initialization import no_init_weights

from pos.backbones.base import Defaults
from pos.backbones.files import fingerprint, published
from pos.backbones.latent import LatentDiffusion
from pos.backbones.text import ClipText
from pos.diffusion.levels import ddim_levels
from pos.errors import PosError
from pos.networks.acceleration import Acceleration
from pos.networks.autoencoder import load_autoencoder
from pos.networks.clip_tokenizer import clean_text, clip_tokenizer
from pos.networks.inflated.videocrafter import VideoCrafter09UNet
from pos.networks.unet3d.unet import UNet3D
from pos.networks.weights import load_weights, read_config, read_metadata, rebuild
from pos.storage import content_hash

PARTS = ("unet", "vae", "text")  # the files of a converted checkpoint


@dataclass(frozen=True)
class Version:
    """A published model.

    Attributes:
        network: the class of its UNet.
        open_clip: whether its text encoder is OpenCLIP's, which cleans a text before it counts tokens.
        checkpoint: the arguments of ``hf download`` that get its file.
    """

    network: type[nn.Module]
    open_clip: bool
    checkpoint: str


VERSIONS = {
    "v0.9": Version(
        VideoCrafter09UNet, False, "VideoCrafter/t2v-version-1-1 models/base_t2v/model_rm_wtm.ckpt"
    ),
    "vc1_512": Version(UNet3D, True, "VideoCrafter/Text2Video-512 model.ckpt"),
    "vc1_1024": Version(UNet3D, True, "VideoCrafter/Text2Video-1024 model.ckpt"),
    "vc2_512": Version(UNet3D, True, "VideoCrafter/VideoCrafter2 model.ckpt"),
}


def version_of(name: str) -> Version:
    """A version by its name.

    Raises:
        PosError: there is no such version.
    """
    if name not in VERSIONS:
        raise PosError(f"VideoCrafter's version '{name}' is unknown: choose {', '.join(VERSIONS)}.")
    return VERSIONS[name]


def model_name(version: str) -> str:
    """What the converted files of a version say that they hold."""
    return f"VideoCrafter {version}"


class VideoCrafterText(ClipText):
    """VideoCrafter's text encoder, which also passes the frame rate to the network.

    Args:
        model: transformers' CLIP text model; its last hidden state is the context. OpenCLIP's is stored
            without its last layer, which VideoCrafter leaves out.
        pad_id: the token that fills a text up.
        fps: frames a second, an input of the network; None for a network without this input.
        clean: what is done to a text before tokens are counted.
    """

    def __init__(
        self, model: nn.Module, pad_id: int, fps: int | None, clean: Callable[[str], str] | None
    ) -> None:
        super().__init__(model, clip_tokenizer(), pad_id=pad_id)
        self.fps, self.clean = fps, clean

    def __call__(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """{"context": (b, 77, d)}, and {"fps": (b,)} for a network with that input."""
        tensors = super().__call__([self.clean(text) for text in prompts] if self.clean else prompts)
        if self.fps is not None:
            tensors["fps"] = torch.full((len(prompts),), self.fps, device=tensors["context"].device)
        return tensors


def load_videocrafter(
    folder: str,
    holds: str,
    pad_id: int,
    fps_condition: int | None,
    signal_scale: Sequence[float] | None,
    frames: int,
    height: int,
    width: int,
    fps: float,
    steps: int,
    guidance: float,
    ddim_eta: float,
    device: str | torch.device = "auto",
    precision: str = "fp16",
    decode_chunk: int = 16,
    acceleration: Acceleration = "none",
) -> LatentDiffusion:
    """A VideoCrafter model.

    Args:
        folder: what ``convert.py weights=videocrafter`` wrote: unet, vae and text, in safetensors.
        holds: the version that the folder must hold.
        pad_id: the token that fills a text up.
        fps_condition: frames a second, an input of the network; None for a network without this input.
        signal_scale: see ``ddim_levels``.
        frames, height, width, fps, steps, guidance, ddim_eta: see ``Defaults``.
        device, precision, decode_chunk, acceleration: see ``LatentDiffusion``.

    Raises:
        PosError: an unknown version; a file that is absent, damaged, of another version or that does not fit.
    """
    version = version_of(holds)
    files = {part: _find(Path(folder) / f"{part}.safetensors", holds) for part in PARTS}
    scale = None if signal_scale is None else tuple(signal_scale)
    with no_init_weights():  # random weights of this size take a while, and none of them stays
        unet, text = rebuild(version.network, files["unet"]), _load_text(files["text"])
    return LatentDiffusion(
        unet,
        load_autoencoder(files["vae"]),
        VideoCrafterText(text, pad_id, fps_condition, clean_text if version.open_clip else None),
        name=f"videocrafter_{holds}",
        defaults=Defaults(frames, height, width, steps, guidance, fps, ddim_eta),
        fingerprint=content_hash(fingerprint(list(files.values())), pad_id, fps_condition, scale),
        levels=partial(ddim_levels, spacing="videocrafter", signal_scale=scale),
        unit=8 * 2 ** (len(unet.config["block_out_channels"]) - 1),
        device=device,
        precision=precision,
        decode_chunk=decode_chunk,
        acceleration=acceleration,
    )


def _find(path: Path, version: str) -> Path:
    """A converted file of the requested version."""
    checkpoint = VERSIONS[version].checkpoint
    command = (
        f"hf download {checkpoint} --local-dir DOWNLOAD && python experiments/convert.py "
        f"weights=videocrafter weights.version={version} source=DOWNLOAD/{checkpoint.split()[-1]} out=DIR"
    )
    published(path, model_name(version), command, "backbone.folder")
    found = read_metadata(path).get("model")
    if found != model_name(version):
        raise PosError(
            f"{path} holds {found or 'an unknown model'} and not {model_name(version)}: "
            "choose the backbone of that version, or another folder."
        )
    return path


def _load_text(path: Path) -> CLIPTextModel:
    model = CLIPTextModel(CLIPTextConfig(**read_config(path)))
    load_weights(model, path)
    return model
