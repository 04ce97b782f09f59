"""Inverting videos to guided noise (Eq. 2), cached by content: each (video, model, steps, method) once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pos.backbones.base import Backbone
from pos.diffusion.ddim import Guided, Method, invert
from pos.errors import PosError
from pos.storage import TensorCache, content_hash


@dataclass(frozen=True)
class Inverted:
    """The guided noise of one video.

    Attributes:
        noise: eps_inv, (c, f, h, w) float32 on the CPU.
        residual: how far ``fixed_point`` was from convergence (see ``pos.diffusion.ddim.Inversion``); None
            for the other methods.
        evaluations: network evaluations that it took.
        seconds: that it took when it was made, its share of the batch.
    """

    noise: Tensor
    residual: float | None
    evaluations: int
    seconds: float


@dataclass
class Inverter:
    """Inverts videos with a backbone, under the empty prompt and without guidance (Eq. 2).

    Attributes:
        backbone: encodes the videos and predicts.
        cache: where the noises are kept; the key is the video's pixels, the backbone's fingerprint and
            precision, and what follows below, but never the batch size.
        steps: T; must be the sampler's.
        method: ``next``, ``printed`` or ``fixed_point``, as ``pos.diffusion.ddim.invert`` describes them.
        iterations, tolerance: of ``fixed_point``.
        batch_size: videos inverted at a time.
    """

    backbone: Backbone
    cache: TensorCache
    steps: int
    method: Method = "next"
    iterations: int = 20
    tolerance: float = 1e-6
    batch_size: int = 8

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise PosError(f"batch_size={self.batch_size} is not allowed: at least one video at a time.")

    def __call__(
        self,
        videos: Sequence[Tensor],
        progress: Callable[[Iterable[list[int]]], Iterable[list[int]]] | None = None,
    ) -> list[Inverted]:
        """The guided noises of videos, in their order; only those absent from the cache are computed.

        Args:
            videos: uint8 (f, c, height, width) each, of one size.
            progress: wraps the loop over batches, for instance ``tqdm``.

        Raises:
            PosError: a tensor that is no video; an unknown method; latents that became NaN.
        """
        keys = [self.key(video) for video in videos]
        absent = {key: index for index, key in enumerate(keys) if self.cache.get(key) is None}
        indices = list(absent.values())
        batches = [
            indices[start : start + self.batch_size] for start in range(0, len(indices), self.batch_size)
        ]
        for batch in batches if progress is None else progress(batches):
            self._invert([keys[index] for index in batch], torch.stack([videos[index] for index in batch]))
        return [self._read(key) for key in keys]

    def key(self, video: Tensor) -> str:
        """The cache key of a video.

        Raises:
            PosError: not a uint8 (f, c, height, width) tensor.
        """
        if video.dtype != torch.uint8 or video.ndim != 4:
            raise PosError(
                f"A video is uint8 (f, c, height, width), got {video.dtype} of shape {tuple(video.shape)}."
            )
        solver = [self.iterations, self.tolerance] if self.method == "fixed_point" else []
        precision = str(self.backbone.dtype)
        return content_hash(video, self.backbone.fingerprint, precision, self.steps, self.method, solver)

    def _invert(self, keys: Sequence[str], videos: Tensor) -> None:
        started = time.perf_counter()
        empty = self.backbone.encode_text([""]).repeat(len(videos))
        inversion = invert(
            Guided(self.backbone.predict, lambda _: empty),
            self.backbone.encode(videos).float(),
            self.backbone.levels(self.steps),
            method=self.method,
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
        noises = inversion.noise.cpu()
        seconds = torch.tensor((time.perf_counter() - started) / len(keys))
        for row, key in enumerate(keys):
            evaluations = torch.tensor(inversion.evaluations)
            entry = {"noise": noises[row], "evaluations": evaluations, "seconds": seconds}
            if inversion.residual is not None:
                entry["residual"] = inversion.residual[row]
            self.cache.put(key, entry)

    def _read(self, key: str) -> Inverted:
        entry = self.cache.get(key)
        residual = float(entry["residual"]) if "residual" in entry else None
        return Inverted(entry["noise"], residual, int(entry["evaluations"]), float(entry["seconds"]))
