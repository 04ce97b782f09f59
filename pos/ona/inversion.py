"""Inverting videos to guided noise (Eq. 2), cached by content: each (video, model, steps, method) once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pos.backbones.base import Backbone
from pos.diffusion.ddim import Guided, InversionMethod, invert
from pos.diffusion.noise import base_noise
from pos.errors import PosError
from pos.ona.mixture import NoiseStatistics, noise_statistics
from pos.ona.reconstruction import Reconstruction, psnr, reconstruct, relative_error
from pos.prefetch import prefetched
from pos.storage import TensorCache, content_hash

Batch = list[tuple[str, Tensor]]
"""Cache keys and their videos."""

DITHER = "dither"  # the stream of its noise, keyed by the pixels of the clip

READERS = 4  # threads that read cached noises
STATISTICS_BATCH = 256  # noises whose statistics are computed together

Wrap = Callable[[Iterable[Batch], int], Iterable[Batch]]
"""Shows the progress of a loop over batches, of which there are so many."""

Entry = dict[str, Tensor]
"""The cached tensors of one video."""


@dataclass(frozen=True)
class Inverted:
    """The guided noise of one video.

    Attributes:
        noise: eps_inv, (c, f, h, w) float32 on the CPU.
        residual: how far ``fixed_point`` was from convergence (see ``pos.diffusion.ddim.Inversion``); None
            for the other methods.
        evaluations: network evaluations that it took.
        seconds: its share of the time of its batch, when it was computed.
        statistics: of the noise.
        reconstruction: of the clip, sampled back from the noise; None where that was not requested.
    """

    noise: Tensor
    residual: float | None
    evaluations: int
    seconds: float
    statistics: NoiseStatistics
    reconstruction: Reconstruction | None


@dataclass
class Inverter:
    """Inverts videos with a backbone, under the empty prompt and without guidance (Eq. 2).

    Attributes:
        backbone: encodes the videos and predicts.
        cache: of the noises; the key is the video's pixels, the backbone's fingerprint and precision, and the
            settings below except the batch size.
        steps: T; must be the sampler's.
        method: ``next``, ``printed`` or ``fixed_point``, as ``pos.diffusion.ddim.invert`` describes them.
        iterations, tolerance: of ``fixed_point``.
        dither: begin at the first noisy level, from the clip with noise of that level: its own draw each.
        batch_size: videos inverted at a time.
        check: also reconstruct every video from its noise (T more evaluations); the result is cached with the
            noise, and added to noises that were cached without it.
    """

    backbone: Backbone
    cache: TensorCache
    steps: int
    method: InversionMethod = "next"
    iterations: int = 20
    tolerance: float = 1e-6
    dither: bool = False
    batch_size: int = 8
    check: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise PosError(f"batch_size={self.batch_size} is not allowed: at least one video at a time.")

    def __call__(
        self,
        videos: Sequence[Tensor],
        progress: Wrap | None = None,
    ) -> list[Inverted]:
        """The guided noises of videos, in their order; only those absent from the cache are computed.

        Args:
            videos: uint8 (f, c, height, width) each, of one size.
            progress: wraps the loop over batches.

        Raises:
            PosError: a tensor that is no video; an unknown method; latents that became NaN.
        """
        return self.of_keys([self.key(video) for video in videos], videos.__getitem__, progress)

    def of_keys(
        self, keys: Sequence[str], video: Callable[[int], Tensor], progress: Wrap | None = None
    ) -> list[Inverted]:
        """The guided noises of videos whose keys are known; only videos without a cached noise are loaded.

        The videos of the next batch are loaded while a batch is inverted.

        Args:
            keys: cache keys, as ``key`` computes them.
            video: the video at an index, uint8 (f, c, height, width).
            progress: wraps the loop over batches.

        Raises:
            PosError: as for a call with the videos.
        """
        places = dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))
        entries = self._cached(places)
        missing = [key for key in places if self._incomplete(entries.get(key))]
        batches = [
            missing[start : start + self.batch_size] for start in range(0, len(missing), self.batch_size)
        ]
        loaded = prefetched(batches, lambda batch: [(key, video(places[key])) for key in batch])
        for batch in loaded if progress is None else progress(loaded, len(batches)):
            entries |= self._complete(batch)
        found = dict(zip(entries, self._inverted(list(entries.values())), strict=True))
        return [found[key] for key in keys]

    def _cached(self, keys: Iterable[str]) -> dict[str, Entry]:
        names = list(keys)
        with ThreadPoolExecutor(READERS) as readers:
            entries = readers.map(self.cache.get, names)
            return {key: entry for key, entry in zip(names, entries, strict=True) if entry is not None}

    def _incomplete(self, entry: Entry | None) -> bool:
        return entry is None or (self.check and "psnr" not in entry)

    def _complete(self, batch: Batch) -> dict[str, Entry]:
        """The complete entries of a batch, of which another process may have computed some in the meantime.

        They are returned instead of being read from the cache again later, when they might have been deleted.
        """
        entries = self._cached(key for key, _ in batch)
        absent = [(key, video) for key, video in batch if key not in entries]
        if absent:
            entries |= self._invert(absent)
        unchecked = [(key, video) for key, video in batch if self._incomplete(entries[key])]
        if unchecked:
            entries |= self._reconstruct(unchecked, entries)
        return entries

    def key(self, video: Tensor) -> str:
        """The cache key of a video.

        Raises:
            PosError: not a uint8 (f, c, height, width) tensor.
        """
        if video.dtype != torch.uint8 or video.ndim != 4:
            raise PosError(
                f"A video is uint8 (f, c, height, width), got {video.dtype} of shape {tuple(video.shape)}."
            )
        return content_hash(video, *self.settings)

    @property
    def settings(self) -> list[Any]:
        """What the noise of a video depends on besides its pixels."""
        solver = [self.iterations, self.tolerance] if self.method == "fixed_point" else []
        dither = [DITHER] if self.dither else []
        return [self.backbone.fingerprint, str(self.backbone.dtype), self.steps, self.method, solver, *dither]

    def _invert(self, batch: Batch) -> dict[str, Entry]:
        started = time.perf_counter()
        videos = torch.stack([video for _, video in batch])
        empty = self.backbone.encode_text([""]).repeat(len(videos))
        table = self.backbone.levels(self.steps)
        latents = self.backbone.encode(videos).float()
        if self.dither:
            noise = base_noise(
                latents.shape[1:], [content_hash(video) for video in videos], [0] * len(videos), DITHER
            )
            latents = table[1].signal * latents + table[1].noise * noise.to(latents.device)
        inversion = invert(
            Guided(self.backbone.predict, lambda _: empty),
            latents,
            table,
            first=int(self.dither),
            method=self.method,
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
        noises = inversion.noise.cpu()
        seconds = torch.tensor((time.perf_counter() - started) / len(batch))
        entries = {}
        for row, (key, _) in enumerate(batch):
            entry = self.cache.get(key)
            if entry is None:  # else another process was faster: its entry may hold a reconstruction
                evaluations = torch.tensor(inversion.evaluations)
                entry = {"noise": noises[row], "evaluations": evaluations, "seconds": seconds}
                if inversion.residual is not None:
                    entry["residual"] = inversion.residual[row]
                self.cache.put(key, entry)
            entries[key] = entry
        return entries

    def _reconstruct(self, batch: Batch, inverted: Mapping[str, Entry]) -> dict[str, Entry]:
        started = time.perf_counter()
        videos = torch.stack([video for _, video in batch])
        noises = torch.stack([inverted[key]["noise"] for key, _ in batch])
        latents = reconstruct(self.backbone, noises, self.steps)
        found = psnr(self.backbone.decode(latents), videos)
        errors = relative_error(latents, self.backbone.encode(videos))
        seconds = torch.tensor((time.perf_counter() - started) / len(batch))
        entries = {}
        for row, (key, _) in enumerate(batch):
            reconstruction = {"psnr": found[row], "latent_error": errors[row], "psnr_seconds": seconds}
            entries[key] = inverted[key] | reconstruction
            self.cache.put(key, entries[key])
        return entries

    def _inverted(self, entries: Sequence[Entry]) -> list[Inverted]:
        statistics: list[NoiseStatistics] = []
        for start in range(0, len(entries), STATISTICS_BATCH):
            noises = torch.stack([entry["noise"] for entry in entries[start : start + STATISTICS_BATCH]])
            statistics += noise_statistics(noises.to(self.backbone.device))
        return [
            Inverted(
                noise=entry["noise"],
                residual=float(entry["residual"]) if "residual" in entry else None,
                evaluations=int(entry["evaluations"]),
                seconds=float(entry["seconds"]),
                statistics=found,
                reconstruction=self._reconstruction(entry) if self.check else None,
            )
            for entry, found in zip(entries, statistics, strict=True)
        ]

    def _reconstruction(self, entry: Entry) -> Reconstruction:
        return Reconstruction(*(float(entry[name]) for name in ("psnr", "latent_error", "psnr_seconds")))
