"""What the provenances of a row's videos say together: its cost, its noise and its rewrites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pos.data.shapes.consistency import changed_attributes
from pos.spr.rewriting import Rewrite, summarize

SECONDS = ("sampling", "inversion", "rewriting")


def cost(provenance: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means over the videos as if nothing were cached: a stage counts with what it took when it was run."""
    evaluations = sum(entry["evaluations"] for entry in provenance) / len(provenance)
    seconds = {stage: _mean([entry["seconds"][stage] for entry in provenance]) for stage in SECONDS}
    return {
        "evaluations": evaluations,
        "seconds": sum(seconds.values()),
        **{f"seconds_{k}": v for k, v in seconds.items()},
    }


def noise(provenance: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Statistics of the starting and of the inverted noise, and what is left of the clips in it.

    Eq. 4 does not keep unit variance.
    """
    inversions = [entry["inversion"] for entry in provenance if entry["inversion"]]
    residuals = [entry["residual"] for entry in inversions if entry["residual"] is not None]
    checks = [entry.get("reconstruction") for entry in inversions]
    checked = [float(check["psnr"]) for check in checks if check]  # JSON has "inf" as a text
    return {
        "start_mean": _mean([entry["start_noise"]["mean"] for entry in provenance]),
        "start_std": _mean([entry["start_noise"]["std"] for entry in provenance]),
        "inverted_mean": _mean([entry["mean"] for entry in inversions]),
        "inverted_std": _mean([entry["std"] for entry in inversions]),
        "inverted_channel_std": _mean_rows([entry["channel_std"] for entry in inversions]),
        "largest_residual": max(residuals, default=None),
        "reconstruction_psnr": _mean(checked),
        "least_reconstruction_psnr": min(checked, default=None),
    }


def rewriting(provenance: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What became of the rewrites, prompt by prompt, and how many change an attribute the prompt names."""
    by_prompt = {entry["id"]: entry for entry in provenance if entry["rewrite"]}
    if not by_prompt:
        return None
    rewrites = [Rewrite(**entry["rewrite"]) for entry in by_prompt.values()]
    changed = [
        bool(changed_attributes(entry["prompt"], entry["rewritten_prompt"])) for entry in by_prompt.values()
    ]
    return {**summarize(rewrites), "changed_attribute": sum(changed)}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _mean_rows(rows: Sequence[Sequence[float]]) -> list[float] | None:
    return [_mean(column) for column in zip(*rows, strict=True)] if rows else None
