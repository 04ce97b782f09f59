"""The detectors of the paper's five metrics, in their published weights: Inception, CLIP, I3D, C3D.

Beyond the paper, and only where a requested metric reads it, VideoMAE.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pos.evaluation.detectors.base import Detector, Detectors, TextDetector
from pos.evaluation.detectors.preprocessing import (
    c3d_input,
    clip_input,
    i3d_input,
    inception_input,
    videomae_input,
)
from pos.metrics.registry import registered
from pos.networks.detectors.c3d import C3D
from pos.networks.detectors.i3d import I3D
from pos.networks.detectors.inception import FIDInception
from pos.networks.detectors.openai_clip import build_clip, open_clip_tokenizer
from pos.networks.detectors.videomae import VideoMAE
from pos.networks.weights import load_weights, read_config

log = logging.getLogger(__name__)

_IMAGES = 8
_SHOWN = 60  # characters of a truncated prompt in a warning
_SOURCES = {
    "fid": ("FID-Inception", "inception", "inception-2015-12-05.pt of NVIDIA (stylegan2-ada-pytorch)"),
    "clip": ("CLIP ViT-B/32", "clip", "ViT-B-32.pt of OpenAI"),
    "fvd": ("I3D", "i3d", "i3d_pretrained_400.pt of VideoGPT"),
    "videomae": ("VideoMAE v2", "videomae", "vit_g_hybrid_pt_1200e_ssv2_ft.pth of OpenGVLab"),
    "inception": ("C3D", "c3d", "conv3d_deepnetA_ucf.npz and mean2.npz of TGANv2"),
}
Network = TypeVar("Network", bound=nn.Module)


class InceptionFeatures(Detector):
    """FID: pool features (b, k, 2048) of images resized as clean-fid does."""

    def prepare(self, frames: Tensor) -> Tensor:
        return inception_input(frames)

    def forward(self, inputs: Tensor) -> Tensor:
        return per_image(self.network, inputs)


class ClipFeatures(TextDetector):
    """CLIP-FID and CLIPSIM: image embeddings (b, k, 512), not normalised, and text embeddings.

    Args:
        network: open_clip's model.
        tokenizer: open_clip's; prompts beyond 77 tokens are cut, with a warning that says what is lost.
    """

    def __init__(self, network: nn.Module, tokenizer: Any) -> None:
        super().__init__(network)
        self.tokenizer = tokenizer
        self._warned: set[str] = set()

    def prepare(self, frames: Tensor) -> Tensor:
        return clip_input(frames)

    def forward(self, inputs: Tensor) -> Tensor:
        return per_image(self.network.encode_image, inputs)

    @torch.inference_mode()
    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        for prompt in prompts:
            self._warn_of_truncation(prompt)
        return self.network.encode_text(self.tokenizer(list(prompts)).to(self.device)).cpu()

    def _warn_of_truncation(self, prompt: str) -> None:
        kept = self.tokenizer.context_length - 2  # start and end of text
        tokens = self.tokenizer.encode(prompt)
        if len(tokens) > kept and prompt not in self._warned:
            self._warned.add(prompt)
            lost = self.tokenizer.decode(tokens[kept:]).strip()
            log.warning(
                "CLIPSIM reads %d tokens of the prompt '%s'; it drops '%s'.",
                kept,
                _short(prompt),
                _short(lost),
            )


class I3DLogits(Detector):
    """FVD: Kinetics-400 logits (b, 400)."""

    def prepare(self, frames: Tensor) -> Tensor:
        return i3d_input(frames)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs)


class C3DClasses(Detector):
    """Inception score: probabilities (b, 101) of the classes of UCF101."""

    def prepare(self, frames: Tensor) -> Tensor:
        return c3d_input(frames)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs).softmax(-1)


class VideoMAEFeatures(Detector):
    """FVD as cd-fvd measures it: pooled features (b, 1408) of VideoMAE v2."""

    network: VideoMAE

    def prepare(self, frames: Tensor) -> Tensor:
        return videomae_input(frames, self.network.side)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([self.network(video[None]) for video in inputs])


def per_image(network: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Images (b, k, ...) to features (b, k, d), a few at a time, to bound memory."""
    images = inputs.flatten(0, 1)
    features = torch.cat([network(few) for few in images.split(_IMAGES)])
    return features.unflatten(0, inputs.shape[:2])


def paper_detectors(
    fid: str, clip: str, fvd: str, inception: str, videomae: str = "", extra: Collection[str] = ()
) -> Detectors:
    """The detectors whose weights exist; ``Detectors.absent`` says how to get the others.

    Args:
        fid, clip, fvd, inception, videomae: safetensors files written by ``experiments/convert.py``.
        extra: as ``Detectors``; VideoMAE is loaded only for a metric that reads it, such as ``fvd_videomae``.

    Raises:
        PosError: a file does not hold its network's weights, or open_clip is not installed.
    """
    builders: dict[str, Callable[[Path], Detector]] = {
        "fid": lambda path: InceptionFeatures(load_network(FIDInception, path)),
        "clip": load_clip,
        "fvd": lambda path: I3DLogits(load_network(I3D, path)),
        "inception": lambda path: C3DClasses(load_network(C3D, path)),
        "videomae": load_videomae,
    }
    paths = {"fid": Path(fid), "clip": Path(clip), "fvd": Path(fvd), "inception": Path(inception)}
    if any(metric.detector == "videomae" for metric in registered("extra") if metric.name in extra):
        paths["videomae"] = Path(videomae)
    absent = {name: _missing(name, path) for name, path in paths.items() if not path.is_file()}
    found = {name: builders[name](path) for name, path in paths.items() if name not in absent}
    return Detectors(**found, absent=absent, extra=extra)


def load_network(kind: Callable[[], Network], path: Path) -> Network:
    """A network with the weights of a file; nothing is initialised that the file does not replace.

    Raises:
        PosError: the file does not hold these weights.
    """
    with torch.device("meta"):
        network = kind()
    network.to_empty(device="cpu")
    load_weights(network, path)
    return network


def load_clip(path: Path) -> ClipFeatures:
    """CLIP ViT-B/32 with the weights of a file.

    Raises:
        PosError: open_clip is not installed, or the file does not hold these weights.
    """
    network = build_clip()
    load_weights(network, path)
    return ClipFeatures(network, open_clip_tokenizer())


def load_videomae(path: Path) -> VideoMAEFeatures:
    """VideoMAE v2 with the weights of a file, at the sizes that it says.

    Raises:
        PosError: the file does not hold these weights.
    """
    return VideoMAEFeatures(load_network(partial(VideoMAE, read_config(path) or None), path))


def _missing(name: str, path: Path) -> str:
    what, kind, source = _SOURCES[name]
    return (
        f"There are no weights of {what} at {path}: get {source} (conf/weights/{kind}.yaml says where) and "
        f"run python experiments/convert.py weights={kind}, or give their place with detectors.{name}=PATH."
    )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
