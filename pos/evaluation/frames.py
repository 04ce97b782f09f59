"""Which frames of a video the metrics read: a choice of the protocol, not of the detectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pos.data.benchmarks.benchmark import Benchmark
from pos.data.benchmarks.manifest import Manifest
from pos.errors import PosError


@dataclass(frozen=True)
class Frames:
    """The frames of a video that are scored.

    The paper reads "every 4 frames" of a generated video of 16 and counts five, which would be four; we add
    the last frame. Of real videos it takes frames 0, 12, 24, 36 and 48, and every fifth for FVD.

    Attributes:
        images: indices of the frames that FID and CLIP-FID read as images.
        clip: how many frames FVD and the inception score read; C3D takes exactly 16.
        step: they are every ``step``-th, from the first.

    Raises:
        PosError: a negative index, no image, or a clip or step below 1.
    """

    images: Sequence[int] = (0, 4, 8, 12, 15)
    clip: int = 16
    step: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", tuple(self.images))
        if not self.images or min(self.images) < 0 or min(self.clip, self.step) < 1:
            raise PosError(
                f"images={list(self.images)}, clip={self.clip}, step={self.step}: images are indices from 0, "
                "clip and step at least 1."
            )

    @property
    def clip_indices(self) -> range:
        return range(0, self.clip * self.step, self.step)

    @property
    def count(self) -> int:
        """How many frames a video must have."""
        return max(*self.images, self.clip_indices[-1]) + 1


GENERATED = Frames()
REAL = Frames(images=(0, 12, 24, 36, 48), clip=16, step=5)
"""The paper's choice for the real videos of MSR-VTT (images) and UCF101 (clips)."""


@dataclass(frozen=True)
class FrameChoice:
    """The frames that a command reads of a video: the arguments of ``Frames``, or None.

    None takes the manifest's choice, or the default where the manifest makes none.
    """

    images: Sequence[int] | None = None
    clip: int | None = None
    step: int | None = None

    def of(self, benchmark: Benchmark, kind: Literal["real", "generated"]) -> Frames:
        """The frames of the real or the generated videos of a benchmark.

        Raises:
            PosError: as ``Frames``, or the clip of the manifest is not of equal steps.
        """
        choices = Manifest.of(benchmark).choices
        clip = list(choices.get(f"{kind}_clip", GENERATED.clip_indices))
        step = clip[1] - clip[0] if len(clip) > 1 else 1
        if clip != list(range(0, len(clip) * step, step)):
            raise PosError(
                f"The manifest of {benchmark.name} says {kind}_clip={clip}: only equal steps can be read."
            )
        return Frames(
            choices.get(f"{kind}_images", GENERATED.images) if self.images is None else self.images,
            len(clip) if self.clip is None else self.clip,
            step if self.step is None else self.step,
        )
