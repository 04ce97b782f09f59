"""The benchmark of the Shapes world."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from pos.data.benchmarks.benchmark import Benchmark
from pos.data.shapes import splits
from pos.data.shapes.world import Scenes, render
from pos.errors import PosError


class ShapesBenchmark(Benchmark):
    """The embedded benchmark: short prompts, 2,048 held-out reference clips of 16 frames of 64x64.

    Args:
        split: ``test`` (scored once) or ``validation`` (on which settings are chosen), 2,048 prompts each.
        size: how many prompts, from the first; None for all of the split.

    Raises:
        PosError: another split, or a number of prompts that the split does not have.
    """

    reference_asset = "shapes/reference.safetensors"

    def __init__(self, split: Literal["test", "validation"] = "test", size: int | None = None) -> None:
        sources = {
            "test": (splits.test_prompts, splits.TEST_PROMPTS),
            "validation": (splits.validation_prompts, splits.VALIDATION_PROMPTS),
        }
        if split not in sources:
            raise PosError(f"The split of Shapes must be 'test' or 'validation', not {split!r}.")
        draw, most = sources[split]
        self.name = f"shapes-{split}"
        self.prompts = draw(most if size is None else size)

    def references(self, batch_size: int = 64) -> Iterator[tuple[Tensor, list[str]]]:
        clips = splits.references()
        for start in range(0, len(clips), batch_size):
            batch = clips[start : start + batch_size]
            yield render(Scenes.cat([clip.scene for clip in batch])), [clip.caption for clip in batch]
