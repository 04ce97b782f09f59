"""What ``experiments/evaluate.py`` logs, and numbers in the form that loggers take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pos.reporting.charts.curves import eta_position
from pos.tracking.loggers import Identity, Logger, resolved

BOUNDS = ("low", "high")


def flat(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Metrics with their intervals as numbers: ``fvd``, ``fvd_low``, ``fvd_high``."""
    numbers = {name: entry["value"] for name, entry in metrics.items()}
    for bound in BOUNDS:
        numbers |= {f"{name}_{bound}": entry.get(bound) for name, entry in metrics.items()}
    return numbers


def log_evaluation(logger: Logger | None, cfg: DictConfig, results: Mapping[str, Any]) -> dict[str, Any]:
    """Log the metrics of an evaluation and its files.

    Args:
        logger: None logs nothing.
        cfg: of the command.
        results: the content of ``results.json``.

    Returns:
        The metrics with their intervals.
    """
    metrics, out = results["metrics"], Path(cfg.out)
    if logger is not None:
        with logger.run(Identity(out.name, "evaluate", out, resolved(cfg))) as run:
            run.metrics(flat(metrics))
            run.table("metrics", *metric_table({"": metrics}))
            run.files("results", "results", [out / "results.json"])
            if cfg.manifest is not None:
                run.files("benchmark", "manifest", [Path(cfg.manifest)])
    return dict(metrics)


def strength(eta: float, gamma: float) -> dict[str, float | None]:
    """eta and gamma for a chart: ``eta`` is None where it is infinite, and ``eta_weight`` is then 1."""
    return {
        "eta": eta if math.isfinite(eta) else None,
        "eta_weight": eta_position(eta),
        "gamma": gamma,
    }


def metric_table(rows: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns and lines of a table: the metrics of each row, by its label."""
    lines = [
        [label, name, *(entry.get(bound) for bound in ("value", *BOUNDS))]
        for label, metrics in rows.items()
        for name, entry in metrics.items()
    ]
    return ["row", "metric", "value", *BOUNDS], lines
