"""The contract of a text-to-video backbone: all that ona, spr and the pipeline see of a diffusion model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pos.diffusion.levels import Level, LevelTable


@dataclass(frozen=True)
class Defaults:
    """What a model was trained for; every value can be overridden by the configuration of a run.

    Attributes:
        frames, height, width: the size of a video in frames and pixels (an image model has one frame).
        steps: DDIM steps T.
        guidance: classifier-free guidance scale; 1 means none.
        fps: frames a second of the written video.
        ddim_eta: of the sampler that the model's authors use, for the record: ours is deterministic wherever
            a run does not say ``method.ddim_eta``.
    """

    frames: int
    height: int
    width: int
    steps: int
    guidance: float
    fps: float
    ddim_eta: float = 0.0


@dataclass(frozen=True)
class Conditioning:
    """What a prompt becomes: named tensors with the batch as first dimension, opaque outside their backbone.

    Concatenable and indexable, so that guidance can batch two of them and hybrid semantics (Eq. 8) can swap
    them at a step.
    """

    tensors: dict[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, rows: slice | Sequence[int] | Tensor) -> Conditioning:
        return Conditioning({name: tensor[rows] for name, tensor in self.tensors.items()})

    def repeat(self, times: int) -> Conditioning:
        """The whole batch ``times`` times over."""
        return Conditioning.concat([self] * times)

    @staticmethod
    def concat(parts: Sequence[Conditioning]) -> Conditioning:
        return Conditioning(
            {name: torch.cat([part.tensors[name] for part in parts]) for name in parts[0].tensors}
        )


class Backbone(ABC):
    """A frozen text-to-video diffusion model.

    Latents are float (b, c, f, h, w); pixel videos are uint8 (b, f, c, height, width), RGB. Range, layout and
    latent scale change hands only in ``encode`` and ``decode``.

    Attributes:
        name: short name for provenance.
        defaults: frames, size, steps and guidance the model was trained for.
        fingerprint: hash of the weights and of all that changes the model's output; part of every cache key.
        device, dtype: where and in which precision the networks run.
    """

    name: str
    defaults: Defaults
    fingerprint: str
    device: torch.device
    dtype: torch.dtype

    @abstractmethod
    def encode_text(self, prompts: Sequence[str]) -> Conditioning:
        """Prompts to conditioning, one row each. The empty prompt is the unconditional one."""

    @abstractmethod
    def encode(self, videos: Tensor) -> Tensor:
        """Pixel videos uint8 (b, f, c, height, width) to latents: the posterior mean, never a sample."""

    @abstractmethod
    def predict(self, latents: Tensor, level: Level, conditioning: Conditioning) -> Tensor:
        """The network's raw output (b, c, f, h, w) at one level; the level table says what it means."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Latents to pixel videos uint8 (b, f, c, height, width), on the CPU."""

    @abstractmethod
    def levels(self, steps: int) -> LevelTable:
        """The level table of T denoising steps."""

    @abstractmethod
    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(c, f, h, w) of one video's latents."""
