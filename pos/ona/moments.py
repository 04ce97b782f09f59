"""Mean and spectrum of clips' latents, and how much of them the noisiest level of a model still shows.

A network trained on ``a z + s eps`` meets at its noisiest level, to second order, a Gaussian of mean ``a m``
and power ``a^2 S + s^2`` in every coefficient of the 3-D Fourier transform over frames and places, each
channel apart, and is sampled from N(0, I). Their divergence is the leak: zero where a = 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from pos.backbones.base import Backbone
from pos.diffusion.levels import Level
from pos.errors import PosError
from pos.ona.clips import PoolClips
from pos.prefetch import prefetched
from pos.storage import TensorCache, content_hash

MOST_CLIPS = 512
"""Of a pool, for its moments; 2,000 of the Shapes pool give the same leak to 4%."""

BANDS = ("0", "0 to 1/8", "1/8 to 1/4", "1/4 to 1/2", "above 1/2")
"""Of frequency, in units of the highest that the frames and places hold along their axis."""

_EDGES = (0.0, 0.125, 0.25, 0.5)
_DIMS = (-3, -2, -1)


@dataclass(frozen=True)
class Moments:
    """Moments of latents, in the orthonormal Fourier transform over frames, rows and columns.

    Attributes:
        mean: m of the latents, (c, f, h, w) float64.
        power: S, the mean square of each coefficient's deviation from that of the mean, (c, f, h, w) float64.
        count: clips that they are of.
    """

    mean: Tensor
    power: Tensor
    count: int

    @classmethod
    def of(cls, batches: Iterable[Tensor]) -> Moments:
        """The moments of latents (b, c, f, h, w), batch by batch.

        Raises:
            PosError: fewer than two clips, which have no spectrum.
        """
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for latents in batches:
            wide = latents.double().cpu()
            count += len(wide)
            total = total + wide.sum(0)
            squares = squares + torch.fft.fftn(wide, dim=_DIMS, norm="ortho").abs().square().sum(0)
        if count < 2:
            raise PosError(f"{count} clips have no spectrum: moments need a pool of at least 2.")
        mean = total / count
        of_mean = torch.fft.fftn(mean, dim=_DIMS, norm="ortho").abs().square()
        return cls(mean, (squares / count - of_mean).clamp_min(0), count)

    def start(self, base: Tensor, level: Level) -> Tensor:
        """``a m + sqrt(a^2 S + s^2) eps`` of every coefficient, float32.

        Args:
            base: eps, (b, c, f, h, w).
            level: whose signal a and noise s are taken.
        """
        gain = self._variance(level).sqrt().to(base.device)
        coloured = torch.fft.ifftn(torch.fft.fftn(base.double(), dim=_DIMS) * gain, dim=_DIMS).real
        return (level.signal * self.mean.to(base.device) + coloured).to(base.dtype)

    def leak(self, level: Level) -> float:
        """Divergence of the level's Gaussian from N(0, I), in nats a video."""
        return sum(self.leak_by_band(level).values())

    def leak_by_band(self, level: Level) -> dict[str, float]:
        """The leak's share of each of ``BANDS``, in nats a video.

        ``sum (v - 1 - ln v) / 2 + a^2 |m|^2 / 2`` over coefficients, with their variance v.
        """
        variance = self._variance(level)
        of_mean = torch.fft.fftn(self.mean, dim=_DIMS, norm="ortho").abs().square()
        nats = (variance - 1 - variance.log()) / 2 + level.signal**2 * of_mean / 2
        edges = torch.tensor(_EDGES, dtype=torch.float64)
        band = torch.bucketize(frequencies(self.mean.shape[1:]), edges)  # 0, then (0, 1/8], ...
        return {name: float(nats[:, band == place].sum()) for place, name in enumerate(BANDS)}

    def _variance(self, level: Level) -> Tensor:
        return level.signal**2 * self.power + level.noise**2


def frequencies(shape: Sequence[int]) -> Tensor:
    """The largest of the three frequencies of each coefficient (f, h, w), in units of the highest, 0 to 1."""
    axes = [torch.fft.fftfreq(size, dtype=torch.float64).abs() * 2 for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).amax(0)


def pool_moments(clips: PoolClips, backbone: Backbone, cache: TensorCache, batch_size: int = 8) -> Moments:
    """The moments of a pool's latents, cached: of all clips, or of ``MOST_CLIPS`` spread over the pool.

    Args:
        clips: of the pool, in the videos' size.
        backbone: encodes them.
        cache: of moments; the key is the pool, the size, the backbone's fingerprint and precision.
        batch_size: clips encoded at a time.

    Raises:
        PosError: the pool has fewer than two clips.
    """
    count = min(len(clips.pool), MOST_CLIPS)
    size = [clips.frames, clips.height, clips.width]
    key = content_hash(clips.pool.fingerprint, count, size, backbone.fingerprint, str(backbone.dtype))
    found = cache.get(key)
    if found is None:
        indices = [place * len(clips.pool) // count for place in range(count)]
        batches = [indices[start : start + batch_size] for start in range(0, count, batch_size)]
        loaded = tqdm(prefetched(batches, clips.videos), "Moments of the pool", len(batches), unit="batch")
        moments = Moments.of(backbone.encode(torch.stack(videos)) for videos in loaded)
        found = {"mean": moments.mean, "power": moments.power}
        cache.put(key, found)
    return Moments(found["mean"], found["power"], count)
