"""The Frechet distance between Gaussians, in float64: one function behind FID, CLIP-FID and FVD.

d^2 = |mu_1 - mu_2|^2 + tr S_1 + tr S_2 - 2 tr (S_1^1/2 S_2 S_1^1/2)^1/2

The root is never taken of a non-symmetric product: there is no imaginary part to drop and no jitter on the
diagonal, and covariances of lower rank than the features (few videos) are exact too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pos.errors import PosError

_CHUNK_ELEMENTS = 2**24  # float64 numbers held at once while resampling: 128 MB


@dataclass(frozen=True)
class FeatureStatistics:
    """Count, mean and scatter of a set of feature vectors, in float64.

    Adding two of them gives the statistics of the union, so that they can be gathered over batches, processes
    and resumed runs with memory that does not grow with the number of videos.

    Attributes:
        count: number of vectors n.
        mean: (d,).
        scatter: (d, d), the sum of outer products of the centred vectors.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, features: Tensor) -> FeatureStatistics:
        """Statistics of features (..., d); every leading dimension counts as one vector.

        Raises:
            PosError: no vector, or NaN or infinite features.
        """
        rows = features.reshape(-1, features.shape[-1]).double()
        if not len(rows):
            raise PosError("Statistics need at least one feature vector, and there is none.")
        if not rows.isfinite().all():
            bad = int((~rows.isfinite()).any(1).sum())
            raise PosError(f"{bad} of {len(rows)} feature vectors hold NaN or infinite values.")
        mean = rows.mean(0)
        centred = rows - mean
        return cls(len(rows), mean, centred.T @ centred)

    def __add__(self, other: FeatureStatistics) -> FeatureStatistics:
        if self.mean.shape != other.mean.shape:
            raise PosError(f"Features of {len(self.mean)} and {len(other.mean)} dimensions cannot be merged.")
        count = self.count + other.count
        step = other.mean - self.mean
        scatter = self.scatter + other.scatter + torch.outer(step, step) * (self.count * other.count / count)
        return FeatureStatistics(count, self.mean + step * (other.count / count), scatter)

    @property
    def covariance(self) -> Tensor:
        """(d, d), unbiased (ddof 1) as in the reference implementations.

        Raises:
            PosError: fewer than two vectors.
        """
        if self.count < 2:
            raise PosError(f"A covariance needs at least 2 feature vectors, and there is {self.count}.")
        return self.scatter / (self.count - 1)


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """The Frechet distance of two sets; at least 0, and 0 up to rounding for a set and itself.

    With S = R R^T the last trace is the sum of the singular values of R_1^T R_2: no product of covariances is
    formed, whose small eigenvalues would drown in rounding.
    """
    if a.mean.shape != b.mean.shape:
        raise PosError(f"Features of {len(a.mean)} and {len(b.mean)} dimensions cannot be compared.")
    overlap = torch.linalg.svdvals(_root(a.covariance).T @ _root(b.covariance)).sum()
    traces = a.covariance.trace() + b.covariance.trace()
    return float(((a.mean - b.mean).square().sum() + traces - 2 * overlap).clamp(min=0))


def resampled_distances(features: Tensor, reference: FeatureStatistics, weights: Tensor) -> Tensor:
    """Frechet distances to a reference of many resamples of one set of videos, from the stored features.

    Args:
        features: (n, d), or (n, k, d) for k vectors a video (frames), which are always resampled together.
        reference: statistics of the real set.
        weights: (b, n), how often each video counts in each resample; a row of ones is the set itself.

    Returns:
        (b,) float64.
    """
    vectors = features.double().reshape(len(features), -1, features.shape[-1])
    per_video, dims = vectors.shape[1:]
    rows = vectors.reshape(-1, dims) - reference.mean.to(vectors)  # near the reference's mean nothing cancels
    covariance = reference.covariance.to(rows)
    root = _root(covariance)
    chunk = max(1, _CHUNK_ELEMENTS // (len(rows) * dims + dims * dims))
    distances = []
    for times in weights.to(rows).split(chunk):
        times = times.repeat_interleave(per_video, dim=1)
        count = times.sum(1)
        mean = times @ rows / count[:, None]
        second = (rows.T * times[:, None, :]) @ rows
        scatter = second - count[:, None, None] * mean[:, :, None] * mean[:, None, :]
        own = scatter / (count - 1)[:, None, None]
        traces = covariance.trace() + own.diagonal(dim1=1, dim2=2).sum(1)
        overlap = _trace_of_root(root.T @ own @ root)
        distances.append((mean.square().sum(1) + traces - 2 * overlap).clamp(min=0))
    return torch.cat(distances)


def _trace_of_root(matrices: Tensor) -> Tensor:
    """tr M^1/2 (b,) of symmetric matrices (b, r, r) without negative eigenvalues.

    Eigenvalues below the rounding of the largest are noise, of low rank most of all, whose root is not small.
    """
    spectrum = torch.linalg.eigvalsh((matrices + matrices.mT) / 2)
    floor = torch.finfo(spectrum.dtype).eps * spectrum.shape[1] * spectrum[:, -1:]
    return torch.where(spectrum > floor, spectrum, 0).sqrt().sum(1)


def _root(covariance: Tensor) -> Tensor:
    """R (d, r) with R R^T = covariance: the Cholesky factor, or from eigenvectors where the rank is low."""
    smallest = torch.finfo(covariance.dtype).eps * len(covariance) * covariance.diagonal().amax()
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if not failed and factor.diagonal().square().amin() > smallest:
        return factor
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > smallest
    return vectors[:, kept] * values[kept].sqrt()
