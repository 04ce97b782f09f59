"""The contract of a noise source: base noise and prepared clips to what the denoising starts from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pos.diffusion.levels import LevelTable
from pos.ona.guide import Guide
from pos.provenance import Plan
from pos.retrieval import Neighbour


@dataclass(frozen=True)
class Start:
    """What a batch of videos starts from.

    Attributes:
        noise: (b, c, f, h, w), at level ``steps`` of the table.
        evaluations: of networks, for each video.
        etas: the weight of the guided noise in Eq. 4, of each video.
    """

    noise: Tensor
    evaluations: int
    etas: list[float]


class NoiseSource(ABC):
    """Makes the noise that the denoising of a video starts from.

    Whatever it makes of a video is a function of the video's base noise, id, seed and clips alone, not of the
    batch. What it draws beside the base noise comes from a stream of its own (``sample_generators``).
    """

    def prepare(self, clips: Sequence[Sequence[Neighbour]]) -> list[Guide | None]:
        """What is made of each video's clips, once and cached; None for a source that takes no clips."""
        return [None for _ in clips]

    def steps(self, table: LevelTable) -> int:
        """How many of the table's steps are left from the level that the noise is at."""
        return table.steps

    @abstractmethod
    def start(self, base: Tensor, plans: Sequence[Plan], table: LevelTable) -> Start:
        """What the denoising of videos starts from.

        Args:
            base: eps ~ N(0, I), (b, c, f, h, w), on the backbone's device.
            plans: of the videos, with what ``prepare`` made.
            table: the levels of the sampler.
        """
