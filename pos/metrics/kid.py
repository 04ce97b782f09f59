"""KID: squared maximum mean discrepancy of Inception features (Binkowski et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pos.errors import PosError
from pos.metrics.metric import Metric, MetricInput

_ROWS = 1024  # feature vectors whose kernel is held at once


def kid(features: Tensor, reference: Tensor, weights: Tensor, ids: Sequence[str]) -> Tensor:
    """KID (b,) of features of frames (n, k, d), video i counting ``weights[:, i]`` times.

    The unbiased estimate under the kernel (x y / d + 1)^3, over all pairs of frames. torchmetrics and
    clean-fid average it over random subsets of 1,000 instead, which has the same mean and more variance.
    Copies of a prompt in a resample are not paired with each other, which would inflate the value.

    Args:
        features: of the videos that are scored.
        reference: (m, d), of real frames.
        weights: (b, n), the same for all videos of a prompt.
        ids: the prompt's id of each video.

    Returns:
        float64; it may be negative, since it is unbiased.
    """
    count, frames, _ = features.shape
    rows, real = features.flatten(0, 1).double(), reference.double()
    weights = weights.double()
    prompts = _prompts(ids)
    among, across = torch.zeros(2, len(weights), dtype=torch.float64)
    step = max(1, _ROWS // frames)
    for start in range(0, count, step):
        few = slice(start * frames, (start + step) * frames)
        kernel = _kernel(rows[few], rows)
        kernel[torch.arange(len(kernel)), few.start + torch.arange(len(kernel))] = 0
        pairs = kernel.reshape(-1, count, frames).sum(2).reshape(-1, frames, count).sum(1)
        times = weights[:, start : start + step]
        own = prompts[start : start + step, None] == prompts
        among += ((times @ (pairs * ~own)) * weights).sum(1) + times @ (pairs * own).sum(1)
        across += times @ _kernel(rows[few], real).sum(1).reshape(-1, frames).sum(1)
    seeds = prompts.bincount()[prompts].double()  # videos of each one's prompt
    total, same = frames * weights.sum(1), frames**2 * weights.square() @ seeds
    count_of_pairs = total.square() - same + weights @ (frames**2 * seeds - frames)
    found: Tensor = among / count_of_pairs + _mean_of_pairs(real) - 2 * across / (total * len(real))
    return found


def _prompts(ids: Sequence[str]) -> Tensor:
    """The number of each video's prompt (n,)."""
    number = {name: place for place, name in enumerate(dict.fromkeys(ids))}
    return torch.tensor([number[name] for name in ids])


def _mean_of_pairs(rows: Tensor) -> Tensor:
    """The mean of the kernel over pairs of different rows."""
    total = sum(_kernel(part, rows).sum() for part in torch.split(rows, _ROWS))
    own = ((rows.square().sum(1) / rows.shape[1] + 1) ** 3).sum()
    return (total - own) / (len(rows) * (len(rows) - 1))


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _compute(inputs: MetricInput) -> Tensor:
    if inputs.images is None:
        raise PosError("KID needs the features of real frames, and the reference has none.")
    return kid(inputs.features["fid"], inputs.images, inputs.weights, inputs.ids)


KID = Metric(
    name="kid",
    label="KID",
    better="lower",
    digits=4,
    detector="fid",
    compute=_compute,
    row="fid",
    reference="images",
)
