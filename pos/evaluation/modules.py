"""The five metrics as torchmetrics' modules, for loops on several processes (a Lightning validation).

They keep sums, not features, so that the result does not depend on the number of processes or on which video
each of them scores. ``pos.evaluation.run`` keeps features instead, for the bootstrap.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from pos.errors import PosError
from pos.evaluation.detectors.base import Detector, TextDetector
from pos.evaluation.frames import GENERATED
from pos.metrics.clipsim import clip_similarity
from pos.metrics.frechet import FeatureStatistics, frechet_distance
from pos.metrics.inception_score import entropy


class FrechetMetric(Metric):
    """FID, CLIP-FID or FVD: the distance between the features of videos and a reference.

    Args:
        detector: of images for FID and CLIP-FID, of clips for FVD.
        reference: statistics of real videos under the same detector.
        frames: indices of the frames that it reads: ``Frames.images`` or ``Frames.clip_indices``.
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False
    count: Tensor
    mean: Tensor
    scatter: Tensor

    def __init__(
        self, detector: Detector, reference: FeatureStatistics, frames: Sequence[int] = GENERATED.images
    ) -> None:
        super().__init__()
        self.detector, self.reference, self.frames = detector, reference, list(frames)
        dims = len(reference.mean)
        zeros = {"dtype": torch.float64}
        self.add_state("count", torch.tensor(0), dist_reduce_fx=None)
        self.add_state("mean", torch.zeros(dims, **zeros), dist_reduce_fx=None)
        self.add_state("scatter", torch.zeros(dims, dims, **zeros), dist_reduce_fx=None)

    def update(self, videos: Sequence[Tensor]) -> None:
        """Add videos, uint8 (f, 3, h, w) each."""
        found = FeatureStatistics.of(self.detector.detect([video[self.frames] for video in videos]))
        total = found if not self.count else found + self._statistics()[0]
        self.count = torch.tensor(total.count, device=self.device)
        self.mean, self.scatter = total.mean.to(self.device), total.scatter.to(self.device)

    def compute(self) -> Tensor:
        """The distance, float64.

        Raises:
            PosError: fewer than two feature vectors in all.
        """
        parts = self._statistics()
        if not parts:
            raise PosError("There is no video to score.")
        return torch.tensor(
            frechet_distance(functools.reduce(operator.add, parts), self.reference), dtype=torch.float64
        )

    def _statistics(self) -> list[FeatureStatistics]:
        """The statistics of every process with videos; before synchronisation, of this process alone."""
        dims = len(self.reference.mean)
        states = zip(
            self.count.reshape(-1).tolist(),
            self.mean.reshape(-1, dims).cpu(),
            self.scatter.reshape(-1, dims, dims).cpu(),
            strict=True,
        )
        return [FeatureStatistics(*state) for state in states if state[0]]


class ClipSimilarity(Metric):
    """CLIPSIM: the mean over videos of the mean cosine of frames and prompt.

    Args:
        detector: embeds frames and texts; every frame is read.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, detector: TextDetector) -> None:
        super().__init__()
        self.detector = detector
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, videos: Sequence[Tensor], prompts: Sequence[str]) -> None:
        """Add videos, uint8 (f, 3, h, w) each, with the original prompt of each."""
        cosines = clip_similarity(self.detector.detect(videos), self.detector.encode_text(prompts))
        self.total += cosines.double().sum().to(self.device)
        self.count += len(videos)

    def compute(self) -> Tensor:
        return self.total / self.count


class InceptionScore(Metric):
    """Inception score of one split over all videos.

    Args:
        detector: of clips, to class probabilities.
        classes: how many.
        frames: indices of the frames that it reads.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    probabilities: Tensor
    entropies: Tensor
    count: Tensor

    def __init__(
        self, detector: Detector, classes: int, frames: Sequence[int] = GENERATED.clip_indices
    ) -> None:
        super().__init__()
        self.detector, self.frames = detector, list(frames)
        zeros = {"dtype": torch.float64}
        self.add_state("probabilities", torch.zeros(classes, **zeros), dist_reduce_fx="sum")
        self.add_state("entropies", torch.tensor(0.0, **zeros), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, videos: Sequence[Tensor]) -> None:
        """Add videos, uint8 (f, 3, h, w) each."""
        found = self.detector.detect([video[self.frames] for video in videos]).double()
        self.probabilities += found.sum(0).to(self.device)
        self.entropies += entropy(found).sum().to(self.device)
        self.count += len(videos)

    def compute(self) -> Tensor:
        return (entropy(self.probabilities / self.count) - self.entropies / self.count).exp()
