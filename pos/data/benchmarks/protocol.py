"""The choices of an evaluation that the paper leaves open, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pos.errors import PosError


@dataclass(frozen=True)
class Protocol:
    """What is read, generated and scored; the defaults are the paper's words (5.1) where it has any.

    Attributes:
        real_images: frames of a real video that FID and CLIP-FID read.
        real_clip: how many frames of a real video FVD reads, from its first.
        real_step: from one of these to the next; 16 frames at step 5 are 0, 5, ..., 75.
        generated_images: of a generated video; "every 4 frames" are four, and the paper counts five.
        generated_clip: how many frames FVD and IS read, from the first.
        generated_step: from one of these to the next.
        splits: of the inception score.
        scored_prompt: the prompt that CLIPSIM compares with: always the original, never the rewritten one.
        prompts_per_video: how many prompts each real video gives.
        steps: of DDIM.
        guidance: of the sampler; ``native`` is the backbone's own.

    Raises:
        PosError: no frame, a negative one, or a count, step or number of splits below 1.
    """

    real_images: Sequence[int] = (0, 12, 24, 36, 48)
    real_clip: int = 16
    real_step: int = 5
    generated_images: Sequence[int] = (0, 4, 8, 12, 15)
    generated_clip: int = 16
    generated_step: int = 1
    splits: int = 1
    scored_prompt: str = "original"
    prompts_per_video: int = 1
    steps: int = 50
    guidance: float | str = "native"

    def __post_init__(self) -> None:
        for name in ("real_images", "generated_images"):
            indices = list(getattr(self, name))
            object.__setattr__(self, name, indices)
            if not indices or min(indices) < 0:
                raise PosError(f"{name}={indices}: give at least one frame, counted from 0.")
        for name in ("real_clip", "real_step", "generated_clip", "generated_step", "splits", "steps"):
            if getattr(self, name) < 1:
                raise PosError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.scored_prompt != "original" or self.prompts_per_video != 1:
            raise PosError(
                f"scored_prompt={self.scored_prompt}, prompts_per_video={self.prompts_per_video}: the only "
                "choices so far are original and 1."
            )

    def record(self) -> dict[str, Any]:
        """The choices as JSON-able values, the frames of the clips written out."""
        choices = asdict(self)
        for kind in ("real", "generated"):
            count, step = choices.pop(f"{kind}_clip"), choices.pop(f"{kind}_step")
            choices[f"{kind}_clip"] = list(range(0, count * step, step))
        return choices
