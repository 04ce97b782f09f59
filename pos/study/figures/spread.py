"""Figure 1: how much the scores of single videos of one prompt vary with the noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pos.errors import PosError
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.features import FeatureSet
from pos.evaluation.reference import Reference
from pos.metrics.accuracy import ACCURACY, UNNAMED
from pos.metrics.clipsim import CLIPSIM
from pos.reporting.charts.dots import dots
from pos.reporting.html import Curve
from pos.study.figures.base import Figure, Finding
from pos.study.scores import features
from pos.study.study import Study

LABELS = {metric.name: metric.label for metric in (CLIPSIM, ACCURACY)} | {"distance": "Feature distance"}


class Spread(Figure):
    """The scores of single videos, and the share of their variance that is due to the noise.

    Three scores, as far as there are detectors for them: CLIPSIM; the share of the prompt's attributes that
    the judge recognises; and the distance of FVD's feature from the mean of the real clips.
    """

    def check(self, study: Study) -> None:
        seeds = len(study.seeds)
        if seeds < 2:
            raise PosError(f"{study.name} needs at least 2 seeds to see noises differ, and there is {seeds}.")

    def measure(
        self, study: Study, detectors: Detectors, reference: Reference | None, device: torch.device | str
    ) -> Finding:
        self.check(study)
        prompts, seeds = len(study.benchmark.prompts), len(study.seeds)
        measured: dict[str, Any] = {}
        notes, drawings = [], {}
        for key in study.pipelines:
            label = study.rows[key].label
            found = {}
            for name, scores in single_scores(features(study, key, detectors, device), reference).items():
                grid = scores.view(seeds, prompts).T  # requests go seed by seed
                found[name] = {"prompts": _by_prompt(grid), **variances(grid)}
                notes.append(_describe(label, LABELS[name], grid, found[name]["share_of_noise"]))
                pairs = [(place + 1.0, float(score)) for place, row in enumerate(grid) for score in row]
                title = f"{LABELS[name]} of {seeds} noises a prompt, {label}"
                drawing = dots(title, {label: pairs}, "prompt", LABELS[name])
                drawings[f"{key}-{name}"] = Curve(drawing, "A dot is a video.")
            measured[key] = found
        return Finding(measured, notes, drawings)


def single_scores(features: FeatureSet, reference: Reference | None) -> dict[str, Tensor]:
    """Scores (n,) of single videos by name, as far as there are detectors; NaN where not defined.

    Args:
        features: of n videos.
        reference: with the mean of the real clips; None leaves out the distance.
    """
    rows, scores = features.tensors, {}
    if "clipsim" in rows:
        scores["clipsim"] = rows["clipsim"].double()
    if "judged" in rows:
        counted = rows["named"] != UNNAMED
        right = ((rows["judged"] == rows["named"]) & counted).sum(1)
        scores["accuracy"] = right.double() / counted.sum(1)
    if "fvd" in rows and reference is not None and "fvd" not in reference.unfit(features.detectors):
        scores["distance"] = (rows["fvd"].double() - reference.statistics["fvd"].mean).norm(dim=1)
    return scores


def variances(grid: Tensor) -> dict[str, float | None]:
    """The standard deviations that noise and prompt cause, by one-way random effects.

    Args:
        grid: scores (prompts, noises).

    Returns:
        ``within``: of the noises of one prompt; ``between``: of the prompts' means, corrected for the noises;
        ``share_of_noise``: of the sum of both variances, None where both are 0.
    """
    grid = grid[grid.isfinite().all(1)]
    within = grid.var(1).mean()
    between = (grid.mean(1).var() - within / grid.shape[1]).clamp_min(0) if len(grid) > 1 else within * 0
    total = within + between
    return {
        "within": float(within.sqrt()),
        "between": float(between.sqrt()),
        "share_of_noise": float(within / total) if total > 0 else None,
    }


def _by_prompt(grid: Tensor) -> list[dict[str, float]]:
    return [{"least": float(row.min()), "mean": float(row.mean()), "most": float(row.max())} for row in grid]


def _describe(label: str, name: str, grid: Tensor, share: float | None) -> str:
    spans = grid.amax(1) - grid.amin(1)
    sentence = (
        f"{label}, {name}: of {grid.shape[1]} noises the best and the worst video of a prompt are "
        f"{float(spans.mean()):.3f} apart in the mean, {float(spans.max()):.3f} at most"
    )
    if share is not None:
        sentence += f"; noise makes {share:.0%} of the variance"
    return f"{sentence}."
