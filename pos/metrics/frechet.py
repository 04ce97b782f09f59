"""The Frechet distance between Gaussians, in float64: one function behind FID, CLIP-FID and FVD.

d^2 = |mu_1 - mu_2|^2 + tr S_1 + tr S_2 - 2 tr (S_1^1/2 S_2 S_1^1/2)^1/2

The root is never taken of a non-symmetric product: there is no imaginary part to drop and no jitter on the
diagonal, and covariances of lower rank than the features (few videos) are exact too.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pos.errors import PosError

_CHUNK_ELEMENTS = 2**24  # float64 numbers held at once while resampling: 128 MB
_ROWS = 4096  # feature vectors in float64 at a time
_LARGE = 1000  # from this size on singular values take seconds
_NEGLIGIBLE = 1e-8  # of the traces: the rounding that the faster way to them may cause


@dataclass(frozen=True)
class FeatureStatistics:
    """Count, mean and scatter of a set of feature vectors, in float64.

    Adding two of them gives the statistics of the union, so that they can be gathered over batches, processes
    and resumed runs with memory that does not grow with the number of videos.

    Attributes:
        count: number of vectors n.
        mean: (d,).
        scatter: (d, d), the sum of outer products of the centred vectors.
        factor: (r, d) with factor^T factor = scatter, kept while r < d, where a distance from it is cheaper
            and exact; None beyond.
    """

    count: int
    mean: Tensor
    scatter: Tensor
    factor: Tensor | None = None

    @classmethod
    def of(cls, features: Tensor) -> FeatureStatistics:
        """Statistics of features (..., d); every leading dimension counts as one vector.

        Raises:
            PosError: no vector, or NaN or infinite features.
        """
        rows = features.reshape(-1, features.shape[-1])
        if not len(rows):
            raise PosError("Statistics need at least one feature vector, and there is none.")
        parts = [cls._of_block(block.double(), len(rows)) for block in torch.split(rows, _ROWS)]
        return functools.reduce(operator.add, parts)

    @classmethod
    def _of_block(cls, rows: Tensor, total: int) -> FeatureStatistics:
        if not rows.isfinite().all():
            bad = int((~rows.isfinite()).any(1).sum())
            raise PosError(f"{bad} of {total} feature vectors hold NaN or infinite values.")
        mean = rows.mean(0)
        centred = rows - mean
        return cls(len(rows), mean, centred.T @ centred, centred if len(rows) < rows.shape[1] else None)

    def __add__(self, other: FeatureStatistics) -> FeatureStatistics:
        if self.mean.shape != other.mean.shape:
            raise PosError(f"Features of {len(self.mean)} and {len(other.mean)} dimensions cannot be merged.")
        count = self.count + other.count
        step = other.mean - self.mean
        apart = step * (self.count * other.count / count) ** 0.5
        scatter = self.scatter + other.scatter + torch.outer(apart, apart)
        return FeatureStatistics(
            count,
            self.mean + step * (other.count / count),
            scatter,
            _joined(self.factor, other.factor, apart),
        )

    @property
    def covariance(self) -> Tensor:
        """(d, d), unbiased (ddof 1) as in the reference implementations.

        Raises:
            PosError: fewer than two vectors.
        """
        return self.scatter / self._freedom

    @property
    def root(self) -> Tensor:
        """R (d, r) with R R^T = covariance: the scaled vectors while ``factor`` is kept, else the Cholesky
        factor, or scaled eigenvectors where the rank is low.

        Raises:
            PosError: fewer than two vectors.
        """
        if self.factor is not None:
            root: Tensor = self.factor.T / self._freedom**0.5
            return root
        return _root(self.covariance)

    @property
    def _freedom(self) -> int:
        if self.count < 2:
            raise PosError(f"A covariance needs at least 2 feature vectors, and there is {self.count}.")
        return self.count - 1


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """The Frechet distance of two sets; at least 0, and 0 up to rounding for a set and itself.

    With S = R R^T the last trace is the sum of the singular values of R_1^T R_2: no product of covariances is
    formed, whose small eigenvalues would drown in rounding.

    Raises:
        PosError: sets of other dimensions, or of fewer than two vectors.
    """
    if a.mean.shape != b.mean.shape:
        raise PosError(f"Features of {len(a.mean)} and {len(b.mean)} dimensions cannot be compared.")
    traces = a.covariance.trace() + b.covariance.trace()
    overlap = _sum_of_singular_values(a.root.T @ b.root, _NEGLIGIBLE * float(traces))
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
    dims = features.shape[-1]
    per_video = features[0].numel() // dims
    rows = features.reshape(-1, dims)
    times = weights.to(reference.mean).repeat_interleave(per_video, dim=1)
    resampled = _of_few if len(rows) < dims else _of_many
    return torch.cat([part.clamp(min=0) for part in resampled(rows, reference, times)])


def _of_many(rows: Tensor, reference: FeatureStatistics, weights: Tensor) -> Iterator[Tensor]:
    """For at least as many vectors as features: from the covariance of every resample."""
    dims = rows.shape[1]
    block = min(_ROWS, len(rows))
    root, trace = reference.root, reference.covariance.trace()
    for times in torch.split(weights, max(1, _CHUNK_ELEMENTS // (block * dims + dims * dims))):
        count = times.sum(1)
        total: Tensor | int = 0
        second: Tensor | int = 0
        for part, parts_times in zip(torch.split(rows, block), torch.split(times, block, dim=1), strict=True):
            near = part.double() - reference.mean  # near the reference's mean nothing cancels
            total = total + parts_times @ near
            second = second + (near.T * parts_times[:, None, :]) @ near
        mean = total / count[:, None]
        scatter = second - count[:, None, None] * mean[:, :, None] * mean[:, None, :]
        own = scatter / (count - 1)[:, None, None]
        traces = trace + own.diagonal(dim1=1, dim2=2).sum(1)
        yield mean.square().sum(1) + traces - 2 * _trace_of_root(root.T @ own @ root)


def _of_few(rows: Tensor, reference: FeatureStatistics, weights: Tensor) -> Iterator[Tensor]:
    """For fewer vectors than features: the same distances from products of vectors, which are smaller."""
    near = rows.double() - reference.mean
    covariance = reference.covariance
    plain, weighed = near @ near.T, near @ covariance @ near.T
    for times in torch.split(weights, max(1, _CHUNK_ELEMENTS // len(rows) ** 2)):
        count = times.sum(1, keepdim=True)
        shares = times / count
        squared = torch.einsum("bi,ij,bj->b", shares, plain, shares)  # the mean's square
        variances = plain.diagonal() - 2 * shares @ plain + squared[:, None]
        own = (times * variances).sum(1) / (count[:, 0] - 1)
        across = shares @ weighed
        about = (shares * across).sum(1)
        centred = weighed - across[:, None, :] - across[:, :, None] + about[:, None, None]
        scale = (times / (count - 1)).sqrt()
        overlap = _trace_of_root(scale[:, :, None] * centred * scale[:, None, :])
        yield squared + covariance.trace() + own - 2 * overlap


def _joined(a: Tensor | None, b: Tensor | None, apart: Tensor) -> Tensor | None:
    if a is None or b is None or len(a) + len(b) + 1 >= len(apart):
        return None
    return torch.cat([a, b, apart[None]])


def _sum_of_singular_values(matrix: Tensor, tolerance: float) -> Tensor:
    """The nuclear norm; of a large matrix from the eigenvalues of its square where these are exact enough.

    The eigenvalues take a quarter of the time, but their error is eps times the largest, which is large
    relative to small ones.
    """
    if min(matrix.shape) >= _LARGE:
        square = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
        spectrum: Tensor = torch.linalg.eigvalsh(square)
        rounding = torch.finfo(spectrum.dtype).eps * spectrum[-1]
        values = spectrum.clamp(min=0).sqrt()
        if (rounding / values.clamp(min=rounding.sqrt())).sum() < tolerance:
            return values.sum()
    singular: Tensor = torch.linalg.svdvals(matrix)
    return singular.sum()


def _trace_of_root(matrices: Tensor) -> Tensor:
    """tr M^1/2 (b,) of symmetric matrices (b, r, r) without negative eigenvalues.

    Eigenvalues below the rounding error of the largest are set to 0: they are noise, mostly where the rank is
    low, and their roots would not be small.
    """
    spectrum: Tensor = torch.linalg.eigvalsh((matrices + matrices.mT) / 2)
    floor = torch.finfo(spectrum.dtype).eps * spectrum.shape[1] * spectrum[:, -1:]
    return torch.where(spectrum > floor, spectrum, 0).sqrt().sum(1)


def _root(covariance: Tensor) -> Tensor:
    """R (d, r) with R R^T = covariance: the Cholesky factor, or from eigenvectors where the rank is low."""
    smallest = torch.finfo(covariance.dtype).eps * len(covariance) * covariance.diagonal().amax()
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if not failed and factor.diagonal().square().amin() > smallest:
        return factor
    values: Tensor
    vectors: Tensor
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > smallest
    return vectors[:, kept] * values[kept].sqrt()
