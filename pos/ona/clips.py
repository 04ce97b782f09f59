"""The clips of a pool in the size of the videos, and the cache keys of what is computed of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pos.data.pools.pool import Pool
from pos.storage import RecordCache, content_hash


@dataclass(frozen=True)
class PoolClips:
    """Clips of one size.

    Attributes:
        pool: that they are of.
        cache: folder of the records of keys.
        frames, height, width: of every clip.
    """

    pool: Pool
    cache: Path | str
    frames: int
    height: int
    width: int

    def videos(self, indices: Sequence[int]) -> list[Tensor]:
        """Clips uint8 (f, 3, height, width)."""
        return self.pool.videos(indices, self.frames, self.height, self.width)

    def keys(
        self, indices: Sequence[int], settings: Sequence[Any], key: Callable[[Tensor], str]
    ) -> tuple[list[str], Callable[[int], Tensor]]:
        """The cache key of what is computed of each clip, and a function that loads the clip at a place.

        Keys are remembered by the hash of the clip's content where the pool has one, so that a clip whose
        result is cached is neither rendered nor decoded again.

        Args:
            indices: of the clips in the pool.
            settings: what the key depends on beside the pixels.
            key: of a clip, by its pixels.
        """
        contents, size = self.pool.contents, [self.frames, self.height, self.width]
        names: dict[int, str] = {}
        known: dict[int, str] = {}
        records = RecordCache(self.cache, "clip_keys") if contents else None
        if contents and records:
            names = {index: content_hash(contents[index], size, *settings) for index in indices}
            known = {index: found for index, name in names.items() if (found := records.get(name))}
        new = [index for index in indices if index not in known]
        loaded = dict(zip(new, self.videos(new), strict=True))
        keys = known | {index: key(video) for index, video in loaded.items()}
        if records:
            records.put_all({names[index]: keys[index] for index in new})

        def load(place: int) -> Tensor:
            index = indices[place]
            return loaded[index] if index in loaded else self.videos([index])[0]

        return [keys[index] for index in indices], load
