"""Clips to latents, cached by content: each (video, model) once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pos.backbones.base import Backbone
from pos.prefetch import prefetched
from pos.storage import TensorCache, content_hash


@dataclass(frozen=True)
class ClipEncoder:
    """Encodes videos with a backbone.

    Attributes:
        backbone: whose latents they are.
        cache: of the latents; the key is the video's pixels, the backbone's fingerprint and its precision.
        batch_size: videos encoded at a time.
    """

    backbone: Backbone
    cache: TensorCache
    batch_size: int = 8

    @property
    def settings(self) -> list[Any]:
        """What the latents of a video depend on besides its pixels."""
        return ["latents", self.backbone.fingerprint, str(self.backbone.dtype)]

    def key(self, video: Tensor) -> str:
        """The cache key of a video uint8 (f, 3, height, width)."""
        return content_hash(video, *self.settings)

    def of_keys(self, keys: Sequence[str], video: Callable[[int], Tensor]) -> list[Tensor]:
        """Latents (c, f, h, w), float32 on the CPU, of videos whose keys are known.

        Args:
            keys: as ``key`` computes them.
            video: the video at an index; only those without cached latents are loaded.
        """
        places = {key: place for place, key in enumerate(keys)}
        entries = {key: entry for key in places if (entry := self.cache.get(key))}
        absent = [key for key in places if key not in entries]
        batches = [absent[i : i + self.batch_size] for i in range(0, len(absent), self.batch_size)]
        for batch, videos in prefetched(
            batches, lambda batch: (batch, [video(places[key]) for key in batch])
        ):
            encoded = self.backbone.encode(torch.stack(videos)).float().cpu()
            for key, latents in zip(batch, encoded, strict=True):
                entries[key] = {"latents": latents.clone()}
                self.cache.put(key, entries[key])
        return [entries[key]["latents"] for key in keys]
