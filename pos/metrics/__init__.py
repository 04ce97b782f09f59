"""One file a metric: its function and its ``Metric`` object; ``register`` adds one from another package."""

from pos.metrics.metric import Metric, MetricInput
from pos.metrics.registry import register

__all__ = ["Metric", "MetricInput", "register"]
