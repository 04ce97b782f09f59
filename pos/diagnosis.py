"""What a model and a pool promise before anything is generated: its leak, and its inverted noise.

The leak (``pos.ona.moments``) needs the level table and clips' latents alone. A handful of clips is inverted
too: noise that is far from N(0, I), or that does not lead back to its clip, guides badly. See
docs/why-it-works.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pos.backbones.base import Backbone
from pos.data.pools.pool import Pool
from pos.errors import PosError
from pos.noise.inversion import USUAL_DEVIATION
from pos.ona.clips import PoolClips
from pos.ona.inversion import Inverted, Inverter
from pos.ona.moments import frequencies, pool_moments
from pos.ona.reconstruction import Check
from pos.storage import TensorCache

LITTLE, MUCH = 0.5, 5.0
"""Nats a video. Shapes' worlds of 0.14, 1.7 and 16 nats gained 0, 13 and 91 of FVD by a diffused clip."""

LOW = 0.25
"""Of the highest frequency: below it lies the band whose share of the inverted noise's power is reported."""


@dataclass(frozen=True)
class InvertedNoise:
    """The inverted noises of some clips, in the mean.

    Attributes:
        clips: how many.
        std: standard deviation; 1 for N(0, I).
        ks_distance: Kolmogorov-Smirnov distance from a normal distribution, 0 to 1.
        low_share: share of the power below a quarter of the highest frequency, over that of white noise.
        psnr: dB, of the clips sampled back from their noises.
    """

    clips: int
    std: float
    ks_distance: float
    low_share: float
    psnr: float


@dataclass(frozen=True)
class Diagnosis:
    """What is known of a model and a pool without generating.

    Attributes:
        backbone: its name.
        steps: T.
        timestep, signal, noise: of the noisiest level.
        clips: of the pool, that the moments are of.
        leak: nats a video.
        bands: the leak by frequency.
        inverted: noises of a few clips; None where none were inverted.
        advice: what to expect of each noise source, one sentence each.
    """

    backbone: str
    steps: int
    timestep: float
    signal: float
    noise: float
    clips: int
    leak: float
    bands: dict[str, float]
    inverted: InvertedNoise | None
    advice: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def diagnose(
    backbone: Backbone,
    pool: Pool,
    steps: int | None = None,
    clips: int = 8,
    batch_size: int = 8,
    cache: Path | str = "outputs/cache",
) -> Diagnosis:
    """The leak of a backbone's noisiest level on a pool, and the inverted noise of some of its clips.

    Args:
        backbone: the model.
        pool: clips like those that would guide it.
        steps: T; None takes the backbone's.
        clips: that are inverted and sampled back, 2 T evaluations each, spread over the pool; 0 inverts none.
        batch_size: clips worked on at a time.
        cache: folder of moments and inversions.

    Raises:
        PosError: the pool has fewer than two clips or fewer than ``clips``.
    """
    if not 0 <= clips <= len(pool):
        raise PosError(f"clips={clips} is not possible: the pool has {len(pool)}, choose 0 to as many.")
    defaults = backbone.defaults
    steps = defaults.steps if steps is None else steps
    table = backbone.levels(steps)
    level = table[table.steps]
    shown = PoolClips(pool, cache, defaults.frames, defaults.height, defaults.width)
    moments = pool_moments(shown, backbone, TensorCache(cache, "moments"), batch_size)
    inverted = _inverted(backbone, shown, steps, clips, batch_size, cache) if clips else None
    leak = moments.leak(level)
    return Diagnosis(
        backbone=backbone.name,
        steps=table.steps,
        timestep=level.timestep,
        signal=level.signal,
        noise=level.noise,
        clips=moments.count,
        leak=leak,
        bands=moments.leak_by_band(level),
        inverted=inverted,
        advice=advice(leak, inverted),
    )


def advice(leak: float, inverted: InvertedNoise | None) -> list[str]:
    """What to expect, one sentence each; a prediction from three worlds of Shapes, not a measurement."""
    if leak < LITTLE:
        sentences = [
            f"The noisiest level leaks {leak:.2g} nats: base noise is what the model expects, and no "
            "clip will change FVD.",
            "noise=diffused costs nothing here; inverted noise at eta above 0.2 may cost quality.",
        ]
    else:
        size = "much" if leak >= MUCH else "something"
        sentences = [
            f"The noisiest level leaks {leak:.2g} nats: the model expects a signal that base noise "
            f"lacks, and guided noise has {size} to give.",
            "noise=diffused should lower FVD most and costs no evaluation; noise=inversion should be best "
            "near eta 1 and carry over more of the clip's motion.",
        ]
    low, high = USUAL_DEVIATION
    if inverted is not None and inverted.psnr < Check().min_psnr:
        sentences.append(
            f"Inverted noise leads back to its clip at {inverted.psnr:.1f} dB only: noise=inversion will "
            "guide badly."
        )
    if inverted is not None and not low <= inverted.std <= high:
        sentences.append(
            f"Inverted noise has a standard deviation of {inverted.std:.2f} and not 1: the larger eta, "
            "the further the start is from what the model knows."
        )
    return sentences


def lines(found: Diagnosis) -> str:
    """The diagnosis as text."""
    bands = ", ".join(f"{name}: {nats:.3g}" for name, nats in found.bands.items())
    text = [
        f"{found.backbone}, T = {found.steps}: the noisiest level has signal {found.signal:.4g} and noise "
        f"{found.noise:.4g}.",
        f"Leak: {found.leak:.3g} nats a video over {found.clips} clips (by frequency, in units of the "
        f"highest: {bands}).",
    ]
    if found.inverted is not None:
        own = found.inverted
        text.append(
            f"Inverted noise of {own.clips} clips: deviation {own.std:.2f}, distance from normal "
            f"{own.ks_distance:.3f}, low frequencies {own.low_share:.1f} times those of white noise, "
            f"sampled back at {own.psnr:.1f} dB."
        )
    return "\n".join([*text, "", *found.advice]) + "\n"


def _inverted(
    backbone: Backbone, clips: PoolClips, steps: int, count: int, batch_size: int, cache: Path | str
) -> InvertedNoise:
    inverter = Inverter(
        backbone, TensorCache(cache, "inversions"), steps=steps, batch_size=batch_size, check=True
    )
    indices = [place * len(clips.pool) // count for place in range(count)]
    keys, load = clips.keys(indices, inverter.settings, inverter.key)
    found: list[Inverted] = inverter.of_keys(keys, load)
    noises = torch.stack([one.noise for one in found])
    statistics = [one.statistics for one in found]
    return InvertedNoise(
        clips=count,
        std=_mean([one.std for one in statistics]),
        ks_distance=_mean([one.ks_distance for one in statistics]),
        low_share=low_share(noises),
        psnr=_mean([one.reconstruction.psnr for one in found]),
    )


def low_share(noises: Tensor) -> float:
    """Share of the power of noises (b, c, f, h, w) below ``LOW``, over that of white noise."""
    power = torch.fft.fftn(noises.double(), dim=(-3, -2, -1)).abs().square().mean((0, 1))
    low = frequencies(noises.shape[2:]) <= LOW
    return float((power[low].sum() / power.sum()) / (low.sum() / low.numel()))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
