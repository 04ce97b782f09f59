"""What was prepared of a video's clips before its denoising."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pos.ona.inversion import Inverted
from pos.retrieval import Neighbour


@dataclass(frozen=True)
class Guide:
    """The clips that guide the noise of one video, and what was made of them.

    Attributes:
        clips: as they were found in the pool.
        inverted: the noise of the only clip; None where clips are not inverted.
        latents: mean latents of the clips, (c, f, h, w) float32 on the CPU; None where they are inverted.
    """

    clips: list[Neighbour]
    inverted: Inverted | None = None
    latents: Tensor | None = None
