"""Attribute accuracy on Shapes: does the video show what its prompt names?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pos.data.shapes.captions import named_attributes
from pos.data.shapes.world import ATTRIBUTES

UNNAMED = -1


def named(prompts: Sequence[str]) -> Tensor:
    """What each prompt names, int64 (n, 6) in the order of ``ATTRIBUTES``; ``UNNAMED`` where it is silent."""
    table = torch.full((len(prompts), len(ATTRIBUTES)), UNNAMED)
    for row, prompt in zip(table, prompts, strict=True):
        found = named_attributes(prompt)
        for column, attribute in enumerate(ATTRIBUTES):
            row[column] = found.get(attribute, UNNAMED)
    return table


def attribute_accuracy(judged: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Share of right attributes (b, 7): over all named ones together, then for each of the six; higher is
    better.

    Only attributes that a prompt names count, so a prompt that names five weighs more than one that names
    two.

    Args:
        judged: the judge's predictions, int64 (n, 6).
        wanted: what the prompts name (``named``), int64 (n, 6).
        weights: (b, n), how often each video counts.

    Returns:
        float64 (b, 7); NaN where no prompt names the attribute.
    """
    counted = wanted != UNNAMED
    right = weights @ ((judged == wanted) & counted).to(weights)
    total = weights @ counted.to(weights)
    return torch.cat([right.sum(1, keepdim=True), right], 1) / torch.cat(
        [total.sum(1, keepdim=True), total], 1
    )
