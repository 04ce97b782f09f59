"""All metrics by name, in the order of tables. A new metric is one line here, or a call of ``register``."""

from __future__ import annotations

from pos.errors import PosError
from pos.metrics.accuracy import ACCURACY, ATTRIBUTE_ACCURACY
from pos.metrics.clip_fid import CLIP_FID
from pos.metrics.clipsim import CLIPSIM
from pos.metrics.consistency import CONSISTENCY
from pos.metrics.diversity import DIVERSITY
from pos.metrics.fid import FID
from pos.metrics.fvd import FVD
from pos.metrics.fvd_videomae import FVD_VIDEOMAE
from pos.metrics.inception_score import INCEPTION_SCORE
from pos.metrics.kid import KID
from pos.metrics.metric import Group, Metric

_REGISTERED: dict[str, Metric] = {}


def register(metric: Metric) -> None:
    """Add a metric, for instance from another package; ``detectors.extra`` may name it from then on.

    Raises:
        PosError: another metric has its name.
    """
    if _REGISTERED.setdefault(metric.name, metric) is not metric:
        raise PosError(f"There is a metric {metric.name} already: give the new one another name.")


def registered(*groups: Group) -> list[Metric]:
    """The metrics of these groups, or all of them, in the order of registration."""
    return [metric for metric in _REGISTERED.values() if not groups or metric.group in groups]


def get_metric(name: str) -> Metric:
    """The metric of this name.

    Raises:
        PosError: there is none.
    """
    if name not in _REGISTERED:
        raise PosError(f"There is no metric {name}, only {', '.join(_REGISTERED)}.")
    return _REGISTERED[name]


for _metric in (
    FID,
    CLIP_FID,
    CLIPSIM,
    FVD,
    INCEPTION_SCORE,
    ACCURACY,
    KID,
    FVD_VIDEOMAE,
    CONSISTENCY,
    DIVERSITY,
    *ATTRIBUTE_ACCURACY,
):
    register(_metric)
