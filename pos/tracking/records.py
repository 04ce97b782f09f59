"""What the commands log, read from the files that they wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pos.reporting.charts.curves import eta_position
from pos.study.summaries import cost
from pos.tracking.loggers import Identity, Logger, resolved

BOUNDS = ("low", "high")


def flat(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Metrics with their intervals as numbers: ``fvd``, ``fvd_low``, ``fvd_high``."""
    numbers = {name: entry["value"] for name, entry in metrics.items()}
    for bound in BOUNDS:
        numbers |= {f"{name}_{bound}": entry.get(bound) for name, entry in metrics.items()}
    return numbers


def log_generation(logger: Logger | None, cfg: DictConfig) -> dict[str, Any]:
    """Log the videos of ``experiments/generate.py`` and where they come from.

    Others that lie in the same folder are of other prompts, and perhaps of another method.

    Returns:
        What a video costs, and how many there are.
    """
    out = Path(cfg.out)
    from pos.generation import named  # evaluate.py logs too, and needs no pipeline

    paths = [out / f"{stem}.json" for _, stem in named(cfg)]
    made = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    values = {"videos": len(made), **cost(made)}
    if logger is None:
        return values
    columns = ["prompt", "rewritten prompt", "retrieved", "seed", "eta", "eta weight", "gamma", "video"]
    rows = [
        [*origin(entry), entry["seed"], *strength(entry["method"]).values(), path.with_suffix(".gif")]
        for entry, path in zip(made, paths, strict=True)
    ]
    identity = Identity(out.name, "generate", out, resolved(cfg) | strength(made[0]["method"]))
    with logger.run(identity) as run:
        run.metrics(values)
        run.table("generated", columns, rows)
        run.videos([(row[-1], row[0]) for row in rows])
        run.files("provenance", "manifest", paths)
    return values


def log_evaluation(logger: Logger | None, cfg: DictConfig, results: Mapping[str, Any]) -> dict[str, Any]:
    """Log what ``experiments/evaluate.py`` measured.

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


def strength(method: Mapping[str, Any]) -> dict[str, Any]:
    """eta and gamma as a chart can take them: infinite eta at its weight in Eq. 4, which is 1."""
    eta = float(method["eta"])
    return {
        "eta": eta if math.isfinite(eta) else None,
        "eta_weight": eta_position(eta),
        "gamma": float(method["gamma"]),
    }


def origin(entry: Mapping[str, Any]) -> list[str]:
    """Prompt, rewritten prompt and retrieved caption of a video's provenance."""
    found = entry["neighbours"]
    return [entry["prompt"], entry["rewritten_prompt"] or "", found[0]["caption"] if found else ""]


def metric_table(rows: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns and lines of the metrics of each row, by its label."""
    lines = [
        [label, name, *(entry.get(bound) for bound in ("value", *BOUNDS))]
        for label, metrics in rows.items()
        for name, entry in metrics.items()
    ]
    return ["row", "metric", "value", *BOUNDS], lines
