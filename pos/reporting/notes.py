"""Notes below a table: why cells are empty, and where the paper's numbers come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pos.reporting.cells import Cell, Column
from pos.reporting.published import PAPER, Published


def gaps(rows: dict[str, dict[str, Cell]], columns: Sequence[Column]) -> list[str]:
    """Why cells are empty: one sentence for each reason, with the cells that it applies to."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for label, cells in rows.items():
        for column in columns:
            reason = cells[column.key].reason
            if reason:
                reasons.setdefault(reason, {}).setdefault(label, []).append(column.label)
    sentences = []
    for reason, empty in reasons.items():
        everywhere = len(empty) == len(rows) and len({tuple(labels) for labels in empty.values()}) == 1
        cells = (
            ", ".join(next(iter(empty.values())))
            if everywhere
            else "; ".join(f"{label} ({', '.join(labels)})" for label, labels in empty.items())
        )
        sentences.append(f"Not measured: {cells}. {reason}")
    return sentences


def beside(paper: Published, results: dict[str, Any], rows: dict[str, dict[str, Cell]]) -> list[str]:
    """The source of the paper's numbers, and which settings differ."""
    cells = [cell for row in rows.values() for cell in row.values()]
    sentences = []
    if any(cell.published is not None for cell in cells):
        sentences.append(f"Lines called paper: as published in {PAPER}, without intervals.")
    for key, row in results["rows"].items():
        for name, theirs in paper.settings(key).items():
            ours = row["method"][name]
            if float(ours) != theirs:
                sentences.append(
                    f"{row['label']} was run at {name} {ours} and is published at {name} {theirs:g}."
                )
    return sentences
