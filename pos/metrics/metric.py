"""What a metric is: its name, its direction, what it reads and how it is computed.

Evaluation, tables, curves and logs read the ``Metric`` objects of ``pos.metrics.registry``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from pos.errors import PosError
from pos.metrics.frechet import FeatureStatistics

Group = Literal["paper", "shapes", "extra"]


@dataclass(frozen=True)
class MetricInput:
    """A set of n videos and what they are compared with.

    Attributes:
        features: rows of features by name, n each (``pos.evaluation.features.FeatureSet``).
        ids: the id of each video's prompt; equal ids are several seeds of one prompt.
        weights: float64 (b, n), how often each video counts in each of b resamples; the same for all videos
            of a prompt. The first row is the set itself, all ones.
        splits: number of splits of the inception score.
        statistics: of the features of real videos, by detector.
        images: features (m, d) of ``fid`` of real frames; None where the reference has none.
    """

    features: Mapping[str, Tensor]
    ids: Sequence[str]
    weights: Tensor
    splits: int = 1
    statistics: Mapping[str, FeatureStatistics] = field(default_factory=dict)
    images: Tensor | None = None


@dataclass(frozen=True)
class Metric:
    """A metric of a set of videos.

    Attributes:
        name: its key in results, configurations and overrides; letters, digits and underscores.
        label: its name in tables and sentences.
        better: which direction is better.
        digits: how many a table shows after the decimal point.
        detector: the network whose features it reads, by its name in ``Detectors``.
        compute: its value float64 (b,) of each resample of a ``MetricInput``; NaN where it is not defined.
        row: the features of a ``FeatureSet`` that it reads; it is computed only where they exist.
        group: ``paper`` for the metrics of the paper, which are always requested; ``shapes`` for those that
            are computed wherever their features exist, and whose absence is not reported; ``extra`` for those
            that are requested by name in ``detectors.extra``.
        reference: what it needs of real videos: the ``statistics`` of its detector's features, or the
            features of ``images`` beside them; None where it is compared with nothing.
        centred: whether repeated videos bias it, so that its bootstrap interval is centred
            (``pos.evaluation.bootstrap.interval``).
        distance: the same value from the statistics of both sets, given where few videos inflate the metric:
            evaluations then report it at smaller numbers of videos too.
        per_video: values (n,) of the videos whose mean the metric is, up to a factor that two sets of the
            same prompts share; given where a permutation test applies.
        notes: sentences on these videos that the reader of the metric must know.
        undefined: why the value of a set may be NaN, as the end of a sentence.
        detail_of: name of the metric that this one is a part of; such details have a table of their own.
        plotted: whether it is drawn over eta and gamma, in reports and in the W&B dashboard.

    Raises:
        PosError: a name with other characters, an unknown direction, or a negative number of digits.
    """

    name: str
    label: str
    better: Literal["lower", "higher"]
    digits: int
    detector: str
    compute: Callable[[MetricInput], Tensor]
    row: str
    group: Group = "extra"
    reference: Literal["statistics", "images"] | None = None
    centred: bool = False
    distance: Callable[[FeatureStatistics, FeatureStatistics], float] | None = None
    per_video: Callable[[Mapping[str, Tensor]], Tensor] | None = None
    notes: Callable[[MetricInput], list[str]] | None = None
    undefined: str = "it has no value on these videos"
    detail_of: str | None = None
    plotted: bool = False

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise PosError(f"name={self.name!r} of a metric may have letters, digits and underscores only.")
        if self.better not in ("lower", "higher"):
            raise PosError(f"better={self.better!r} of the metric {self.name} must be lower or higher.")
        if self.digits < 0:
            raise PosError(f"digits={self.digits} of the metric {self.name} must be at least 0.")

    @property
    def compared(self) -> bool:
        """Whether it needs a reference of real videos."""
        return self.reference is not None
