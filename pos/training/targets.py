"""What a diffusion model of videos learns to sample: encoded clips (SCVideo) or inverted noises (NPNet)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from pos.backbones.base import Backbone
from pos.backbones.codec import FrameCodec
from pos.diffusion.ddim import Guided, InversionMethod, invert
from pos.networks.autoencoder import load_autoencoder
from pos.storage import content_hash, file_digest, locate


class Targets(ABC):
    """Clips to x_0 of a diffusion model.

    Attributes:
        name: of the targets, in one word.
    """

    name: str

    @abstractmethod
    def prepare(self, device: torch.device) -> str:
        """Load the networks onto a device; returns a hash of what decides the targets beside the clips."""

    @abstractmethod
    def __call__(self, videos: Tensor) -> Tensor:
        """Videos uint8 (b, f, 3, height, width) to targets (b, c, f, h, w)."""


class Latents(Targets):
    """The posterior means of an autoencoder, scaled.

    Args:
        autoencoder: a file, or the name of a shipped asset.
    """

    name = "latents"

    def __init__(self, autoencoder: str) -> None:
        self.path = locate(autoencoder)

    def prepare(self, device: torch.device) -> str:
        # Half precision on an accelerator: its error is far below the noise of the lowest level.
        dtype = torch.float32 if device.type == "cpu" else torch.float16
        self._codec = FrameCodec(load_autoencoder(self.path), device, dtype, frames_at_once=8192)
        return content_hash(self.name, file_digest(self.path))

    def __call__(self, videos: Tensor) -> Tensor:
        return self._codec.encode(videos)


class InvertedNoises(Targets):
    """The clips' noises under a backbone, by Eq. 2: empty prompt, no guidance.

    Args:
        backbone: a partial of one of a backbone's loaders, called as ``backbone(device=...)``.
        steps: T of the inversion; that of the sampling which the noises are meant for.
        method: ``next``, ``printed`` or ``fixed_point``.
    """

    name = "noises"

    def __init__(
        self, backbone: Callable[..., Backbone], steps: int, method: InversionMethod = "next"
    ) -> None:
        self.backbone, self.steps, self.method = backbone, steps, method

    def prepare(self, device: torch.device) -> str:
        self._backbone = self.backbone(device=device)
        self._empty = self._backbone.encode_text([""])
        return content_hash(self.name, self._backbone.fingerprint, self.steps, self.method)

    def __call__(self, videos: Tensor) -> Tensor:
        empty = self._empty.repeat(len(videos))
        predict = Guided(self._backbone.predict, lambda _: empty)
        table = self._backbone.levels(self.steps)
        return invert(predict, self._backbone.encode(videos), table, method=self.method).noise
