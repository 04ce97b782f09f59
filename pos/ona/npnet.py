"""NPNet (arXiv 2311.00949, 4.2): a diffusion model over noises that replaces pool and inversion (POS*).

Trained on pairs (caption, eps_inv) with eps_inv in the place of x_0; sampled under a prompt it predicts a
guided noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pos.backbones.base import Backbone
from pos.diffusion.ddim import Guided, sample
from pos.diffusion.noise import base_noise
from pos.storage import content_hash

STREAM = "npnet"  # its starting noise is independent of the base noise eps of Eq. 4


@dataclass(frozen=True)
class NPNet:
    """Predicts eps_inv from a prompt.

    Attributes:
        backbone: a diffusion model whose network was trained on inverted noises; of it only the text
            encoding, the levels and the predictions are used.
        guidance: classifier-free guidance scale; 1 means none.
    """

    backbone: Backbone
    guidance: float = 1.0

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a prediction."""
        return content_hash(self.backbone.fingerprint, str(self.backbone.dtype), self.guidance)

    def predict_noise(
        self,
        prompts: Sequence[str],
        sample_ids: Sequence[str],
        seeds: Sequence[int],
        shape: Sequence[int],
        steps: int,
    ) -> tuple[Tensor, int]:
        """Guided noises of prompts, (b, *shape) float32 on the CPU, and the evaluations that each took.

        Args:
            prompts, sample_ids, seeds: one of each a sample; the starting noise depends on id and seed alone.
            shape: (c, f, h, w).
            steps: T, DDIM steps.

        Raises:
            PosError: ids and seeds of different number; predictions that became NaN (names the step).
        """
        start = base_noise(shape, sample_ids, seeds, STREAM).to(self.backbone.device)
        condition = self.backbone.encode_text(prompts)
        empty = self.backbone.encode_text([""]).repeat(len(prompts))
        guided = Guided(self.backbone.predict, lambda _: condition, empty, self.guidance)
        noise = sample(guided, start, self.backbone.levels(steps))
        return noise.float().cpu(), guided.evaluations
