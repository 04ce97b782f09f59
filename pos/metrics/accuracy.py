"""Attribute accuracy on Shapes: the share of the attributes named in the prompts that the videos show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pos.data.shapes.captions import named_attributes
from pos.data.shapes.world import ATTRIBUTES
from pos.metrics.metric import Metric, MetricInput

UNNAMED = -1


def named(prompts: Sequence[str]) -> Tensor:
    """The values that each prompt names, int64 (n, 6) in the order of ``ATTRIBUTES``; ``UNNAMED`` for an
    attribute that it does not name."""
    table = torch.full((len(prompts), len(ATTRIBUTES)), UNNAMED)
    for row, prompt in zip(table, prompts, strict=True):
        found = named_attributes(prompt)
        for column, attribute in enumerate(ATTRIBUTES):
            row[column] = found.get(attribute, UNNAMED)
    return table


def attribute_accuracy(judged: Tensor, named: Tensor, weights: Tensor) -> Tensor:
    """Share of right attributes (b, 7): over all named ones together, then for each of the six; higher is
    better.

    Only attributes that a prompt names count, so a prompt that names five weighs more than one that names
    two.

    Args:
        judged: the judge's predictions, int64 (n, 6).
        named: the values that the prompts name (``named``), int64 (n, 6).
        weights: (b, n), how often each video counts.

    Returns:
        float64 (b, 7); NaN where no prompt names the attribute.
    """
    counted = named != UNNAMED
    right = weights @ ((judged == named) & counted).to(weights)
    total = weights @ counted.to(weights)
    return torch.cat([right.sum(1, keepdim=True), right], 1) / torch.cat(
        [total.sum(1, keepdim=True), total], 1
    )


def right_attributes(features: Mapping[str, Tensor]) -> Tensor:
    """How many of its named attributes each video shows, float64 (n,); from the rows ``judged`` and
    ``named``."""
    judged, named = features["judged"], features["named"]
    return ((judged == named) & (named != UNNAMED)).sum(1).double()


def _accuracy(inputs: MetricInput, column: int) -> Tensor:
    rows = inputs.features
    return attribute_accuracy(rows["judged"], rows["named"], inputs.weights)[:, column]


def _notes(inputs: MetricInput) -> list[str]:
    without = int((inputs.features["named"] == UNNAMED).all(1).sum())
    if not without:
        return []
    return [f"{without} of {len(inputs.ids)} prompts name no attribute and do not count in accuracy."]


ACCURACY = Metric(
    name="accuracy",
    label="Accuracy",
    better="higher",
    digits=3,
    detector="judge",
    compute=lambda inputs: _accuracy(inputs, 0),
    row="judged",
    group="shapes",
    per_video=right_attributes,
    notes=_notes,
    undefined="no prompt names it",
    plotted=True,
)


def _of_attribute(attribute: str, column: int) -> Metric:
    return Metric(
        name=f"accuracy_{attribute}",
        label=attribute.capitalize(),
        better="higher",
        digits=3,
        detector="judge",
        compute=lambda inputs: _accuracy(inputs, column),
        row="judged",
        group="shapes",
        undefined="no prompt names it",
        detail_of="accuracy",
    )


ATTRIBUTE_ACCURACY = tuple(_of_attribute(name, column) for column, name in enumerate(ATTRIBUTES, start=1))
"""The accuracy of each attribute alone."""
