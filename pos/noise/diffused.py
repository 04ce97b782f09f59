"""``method.noise=diffused``: a clip carried to a noise level by the forward process, ``c a_k z + s_k eps``.

Ours, not the paper's. At the noisiest level T with c = 1 it is what the network was trained on there, costs
no evaluation, and equals plain noise where that level holds no signal. At a level below T it is SDEdit's
start (Meng et al. 2022), and fewer steps are left. RAGME's start is the mean of several clips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pos.diffusion.levels import LevelTable
from pos.noise.source import NoiseSource, Start
from pos.ona.clips import PoolClips
from pos.ona.guide import Guide
from pos.ona.latents import ClipEncoder
from pos.provenance import Plan
from pos.retrieval import Neighbour


@dataclass(frozen=True)
class Diffused(NoiseSource):
    """``c a_k z + s_k eps`` with the clips' mean latents z, and k of T steps left.

    Attributes:
        encoder: clips to latents, each once.
        clips: of the pool.
        signal: c.
        level: k / T, above 0 to 1.
    """

    encoder: ClipEncoder
    clips: PoolClips
    signal: float = 1.0
    level: float = 1.0

    def prepare(self, clips: Sequence[Sequence[Neighbour]]) -> list[Guide | None]:
        chosen = sorted({neighbour.index for own in clips for neighbour in own})
        keys, load = self.clips.keys(chosen, self.encoder.settings, self.encoder.key)
        by_clip = dict(zip(chosen, self.encoder.of_keys(keys, load), strict=True))
        return [Guide(list(own), latents=_mean([by_clip[n.index] for n in own])) for own in clips]

    def steps(self, table: LevelTable) -> int:
        return max(1, math.floor(table.steps * self.level + 1e-9))

    def start(self, base: Tensor, plans: Sequence[Plan], table: LevelTable) -> Start:
        level = table[self.steps(table)]
        latents = torch.stack([plan.guide.latents for plan in plans]).to(base.device)
        noise = (self.signal * level.signal) * latents + level.noise * base
        return Start(noise, 0, [0.0] * len(plans))


def _mean(latents: list[Tensor]) -> Tensor:
    return latents[0] if len(latents) == 1 else torch.stack(latents).mean(0)
