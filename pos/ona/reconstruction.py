"""How well an inverted noise reconstructs its clip, when it is sampled back without guidance.

Explicit methods (``next``, ``printed``) approximate every step of an inversion, and content of the clip that
the noise has lost cannot reach a new video. The error of the pixels includes that of the autoencoder; the
error of the latents is the inversion's alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pos.backbones.base import Backbone
from pos.diffusion.ddim import Guided, sample
from pos.errors import PosError

log = logging.getLogger(__name__)

NAMED = 5  # badly inverted clips that a warning names


@dataclass(frozen=True)
class Reconstruction:
    """The reconstruction of one clip from its inverted noise.

    Attributes:
        psnr: dB, of the reconstruction against the clip; inf where they are equal.
        latent_error: relative L2 error of the latents.
        seconds: the clip's share of the time of its batch.
    """

    psnr: float
    latent_error: float
    seconds: float


@dataclass(frozen=True)
class Check:
    """Reconstructs clips after their inversion (T evaluations each), and warns of bad inversions.

    Args:
        min_psnr: dB; a warning names clips below it. 18 dB is an error of an eighth of the pixels' range. Of
            100 clips of the Shapes pool, inverted by ``next``, 5 are below at T = 10 (the median is 27.3) and
            17 at T = 50 (30.2): their reconstructions hardly resemble them.
        lower_eta: give the noise of such a clip less weight in Eq. 4: with a root-mean-square error k times
            that at ``min_psnr``, eta / k replaces eta. An infinite eta stays. Ours, not the paper's.

    Raises:
        PosError: a value of another kind.
    """

    min_psnr: float = 18.0
    lower_eta: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.min_psnr, int | float) or math.isnan(self.min_psnr):
            raise PosError(f"inversion_check.min_psnr={self.min_psnr} is not allowed: give a number of dB.")
        if not isinstance(self.lower_eta, bool):
            raise PosError(f"inversion_check.lower_eta={self.lower_eta} is not allowed: true or false.")

    def eta(self, eta: float, psnr: float) -> float:
        """The eta of a clip that was reconstructed at ``psnr``."""
        if not self.lower_eta or psnr >= self.min_psnr:
            return eta
        return eta * 10 ** ((psnr - self.min_psnr) / 20)

    def warn(self, found: Mapping[str, float]) -> None:
        """Log a warning that names clips whose reconstruction is below ``min_psnr``."""
        bad = sorted((psnr, name) for name, psnr in found.items() if psnr < self.min_psnr)
        if bad:
            named = ", ".join(f"{name} ({psnr:.1f} dB)" for psnr, name in bad[:NAMED])
            log.warning(
                "%d of %d inverted clips are reconstructed at less than %g dB, their noise guides badly: %s.",
                len(bad),
                len(found),
                self.min_psnr,
                named + (", ..." if len(bad) > NAMED else ""),
            )


def reconstruct(backbone: Backbone, noises: Tensor, steps: int) -> Tensor:
    """The latents that sampling makes of inverted noises under the empty prompt and without guidance.

    Args:
        noises: (b, c, f, h, w).
        steps: T, that of the inversion.

    Raises:
        PosError: latents that became NaN (names the step).
    """
    empty = backbone.encode_text([""]).repeat(len(noises))
    unguided = Guided(backbone.predict, lambda _: empty)
    return sample(unguided, noises.to(backbone.device), backbone.levels(steps))


def psnr(videos: Tensor, references: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of uint8 videos (b, f, c, height, width), each over all its pixels, in dB.

    Returns:
        (b,); inf where the two are equal.
    """
    errors = (videos.float() - references.float()).square().flatten(1).mean(1)
    return 10 * torch.log10(255**2 / errors)


def relative_error(latents: Tensor, references: Tensor) -> Tensor:
    """Relative L2 error of each sample of a batch, (b,)."""
    return (latents - references).flatten(1).norm(dim=1) / references.flatten(1).norm(dim=1)
