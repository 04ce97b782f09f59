"""Pools of captioned clips: ONA takes the clip nearest to a prompt from them, SPR its reference captions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from pos.errors import PosError
from pos.storage import content_hash


class Pool(ABC):
    """N pairs of a caption and a clip.

    Attributes:
        ids: a name for each pair, for provenance.
        captions: the captions, in the order of ``ids``.
        fingerprint: hash of the captions and the clips; part of the key of everything found in the pool.
        contents: a hash of each clip's content; None where that takes decoding them.
    """

    ids: list[str]
    captions: list[str]
    fingerprint: str
    contents: list[str] | None = None

    def __len__(self) -> int:
        return len(self.captions)

    @abstractmethod
    def video(self, index: int, frames: int, height: int, width: int) -> Tensor:
        """The clip of pair ``index``, uint8 (frames, 3, height, width)."""

    def videos(self, indices: Sequence[int], frames: int, height: int, width: int) -> list[Tensor]:
        """The clips of several pairs, in their order."""
        return [self.video(index, frames, height, width) for index in indices]

    def first(self, size: int) -> Pool:
        """The first ``size`` pairs as a pool of their own.

        Raises:
            PosError: there are not so many.
        """
        return self if size == len(self) else Part(self, size)


class Part(Pool):
    """The first pairs of a pool.

    Args:
        pool: the whole.
        size: how many of its pairs.

    Raises:
        PosError: the pool does not have so many.
    """

    def __init__(self, pool: Pool, size: int) -> None:
        if not 1 <= size <= len(pool):
            raise PosError(f"The pool has {len(pool):,} clips: take 1 to as many of them, not {size:,}.")
        self.pool = pool
        self.ids, self.captions = pool.ids[:size], pool.captions[:size]
        self.contents = pool.contents and pool.contents[:size]
        self.fingerprint = content_hash("part", pool.fingerprint, size)

    def video(self, index: int, frames: int, height: int, width: int) -> Tensor:
        return self.pool.video(index, frames, height, width)

    def videos(self, indices: Sequence[int], frames: int, height: int, width: int) -> list[Tensor]:
        return self.pool.videos(indices, frames, height, width)
