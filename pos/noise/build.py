"""A method and the parts of a pipeline to its noise source."""

from __future__ import annotations

from pathlib import Path

from pos.backbones.base import Backbone
from pos.data.pools.pool import Pool
from pos.method import Method
from pos.noise.diffused import Diffused
from pos.noise.inversion import Inversion
from pos.noise.moment import Moment
from pos.noise.npnet import Predicted
from pos.noise.plain import Plain
from pos.noise.source import NoiseSource
from pos.ona.clips import PoolClips
from pos.ona.inversion import Inverter
from pos.ona.latents import ClipEncoder
from pos.ona.moments import pool_moments
from pos.ona.npnet import NPNet
from pos.ona.reconstruction import Check
from pos.storage import TensorCache


def build_source(
    method: Method,
    backbone: Backbone,
    *,
    pool: Pool | None,
    npnet: NPNet | None,
    steps: int,
    size: tuple[int, int, int],
    batch_size: int,
    check: Check | None,
    cache: Path | str,
) -> NoiseSource:
    """The noise source of a method.

    Args:
        method: names it.
        backbone: encodes, inverts and samples.
        pool: of clips; None for a method that takes none.
        npnet: None for a method that predicts nothing.
        steps: T of the sampler.
        size: frames, height and width of the videos.
        batch_size: clips encoded or inverted at a time.
        check: of inversions; None checks none.
        cache: folder of what is computed of clips.

    Raises:
        PosError: the pool has fewer than two clips, for ``moment``.
    """
    if method.predicts:
        return Predicted(npnet, steps, method.eta, method.variance_preserving)
    if not (method.takes_clips or method.uses_moments):
        return Plain()
    clips = PoolClips(pool, cache, *size)
    if method.uses_moments:
        return Moment(pool_moments(clips, backbone, TensorCache(cache, "moments"), batch_size))
    if method.diffuses:
        encoder = ClipEncoder(backbone, TensorCache(cache, "latents"), batch_size)
        return Diffused(encoder, clips, method.signal, method.level)
    inverter = Inverter(
        backbone,
        TensorCache(cache, "inversions"),
        steps=steps,
        method=method.inversion,
        dither=method.dither,
        batch_size=batch_size,
        check=check is not None,
    )
    return Inversion(inverter, clips, method.eta, method.variance_preserving, check)
