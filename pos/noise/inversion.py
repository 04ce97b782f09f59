"""``method.noise=inversion``: ONA, the inverted noise of a clip mixed into the base noise (Eq. 2 and 4)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from pos.diffusion.levels import LevelTable
from pos.noise.source import NoiseSource, Start
from pos.ona.clips import PoolClips
from pos.ona.guide import Guide
from pos.ona.inversion import Inverted, Inverter
from pos.ona.mixture import mix
from pos.ona.reconstruction import Check
from pos.provenance import Plan
from pos.retrieval import Neighbour

log = logging.getLogger(__name__)

USUAL_DEVIATION = (0.7, 1.4)
"""Of inverted noise; the noises of clips that a model does not know lie far outside N(0, I)'s 1."""


@dataclass(frozen=True)
class Inversion(NoiseSource):
    """eps_mix of Eq. 4.

    Attributes:
        inverter: inverts the clips, each once.
        clips: of the pool.
        eta: weight of the inverted noise.
        variance_preserving: scale the inverted noise to unit deviation first.
        check: what a badly reconstructed clip means; None reconstructs none.
    """

    inverter: Inverter
    clips: PoolClips
    eta: float
    variance_preserving: bool = False
    check: Check | None = None

    def prepare(self, clips: Sequence[Sequence[Neighbour]]) -> list[Guide | None]:
        chosen = sorted({neighbour.index for (neighbour,) in clips})
        keys, load = self.clips.keys(chosen, self.inverter.settings, self.inverter.key)
        inverted = self.inverter.of_keys(
            keys,
            load,
            lambda batches, total: tqdm(batches, "Inverting", total, unit="batch", disable=not total),
        )
        by_clip = dict(zip(chosen, inverted, strict=True))
        self._warn(by_clip)
        return [Guide(list(own), inverted=by_clip[own[0].index]) for own in clips]

    def _warn(self, by_clip: dict[int, Inverted]) -> None:
        names = {self.clips.pool.ids[index]: found for index, found in by_clip.items()}
        if self.check is not None:
            self.check.warn({name: found.reconstruction.psnr for name, found in names.items()})
        low, high = USUAL_DEVIATION
        odd = [name for name, found in names.items() if not low <= found.statistics.std <= high]
        if odd:
            log.info(
                "The inverted noise of %d of %d clips has a standard deviation outside %g to %g: the model "
                "hardly knows such noise, and method.noise=diffused may serve better (docs/why-it-works.md).",
                len(odd),
                len(names),
                low,
                high,
            )

    def start(self, base: Tensor, plans: Sequence[Plan], table: LevelTable) -> Start:  # noqa: ARG002
        noises = torch.stack([plan.guide.inverted.noise for plan in plans]).to(base.device)
        etas = [self._eta(plan.guide.inverted) for plan in plans]
        if len(set(etas)) == 1:
            return Start(mix(base, noises, etas[0], self.variance_preserving), 0, etas)
        rows = zip(base.split(1), noises.split(1), etas, strict=True)
        mixed = [mix(own, guided, eta, self.variance_preserving) for own, guided, eta in rows]
        return Start(torch.cat(mixed), 0, etas)

    def _eta(self, inverted: Inverted) -> float:
        """The weight of a video's guided noise: the method's, unless its clip was badly inverted."""
        if self.check is None:
            return self.eta
        return self.check.eta(self.eta, inverted.reconstruction.psnr)
