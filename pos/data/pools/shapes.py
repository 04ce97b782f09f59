"""The pool of the Shapes world: a clip is rendered when it is requested."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pos.data.pools.pool import Pool
from pos.data.shapes.splits import pool
from pos.data.shapes.world import Scenes, render
from pos.errors import PosError
from pos.storage import content_hash


class ShapesPool(Pool):
    """The pool of the Shapes benchmark; a clip is rendered on request.

    Args:
        size: N, the number of pairs.

    Raises:
        PosError: ``size`` is below 1.
    """

    def __init__(self, size: int = 2000) -> None:
        if size < 1:
            raise PosError(f"A pool of {size} clips has nothing to retrieve: its size must be at least 1.")
        clips = pool(size)
        self.ids = [clip.id for clip in clips]
        self.captions = [clip.caption for clip in clips]
        self._scenes = [clip.scene for clip in clips]
        self.contents = [content_hash(scene.attributes, scene.jitter) for scene in self._scenes]
        self.fingerprint = content_hash("shapes", self.ids, self.captions, self.contents)

    def video(self, index: int, frames: int, height: int, width: int) -> Tensor:
        return self.videos([index], frames, height, width)[0]

    def videos(self, indices: Sequence[int], frames: int, height: int, width: int) -> list[Tensor]:
        """The clips of several pairs; rendered together, a clip takes a third of the time."""
        if height != width:
            raise PosError(f"Shapes clips are square: {height}x{width} pixels cannot be rendered.")
        if not indices:
            return []
        return list(render(Scenes.cat([self._scenes[index] for index in indices]), frames, height))

    def first(self, size: int) -> Pool:
        """The first ``size`` pairs of the world, which does not end where this pool does."""
        return self if size == len(self) else ShapesPool(size)
