"""Results as tables: values, and their differences from the baseline with intervals, as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

MARKS = {"better": "✓", "worse": "✗"}
LEGEND = "✓ better and ✗ worse than the first row: the 95% interval of the paired difference leaves out 0."
_CSV_HEADER = (
    "row", "metric", "better", "value", "low", "high",
    "difference", "difference_low", "difference_high", "verdict",
)  # fmt: skip
_ABSENT = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: of the entry in a row's ``metrics`` or ``cost``.
        label: its heading.
        better: which direction is better; None for what is not judged (cost).
        digits: after the decimal point.
    """

    key: str
    label: str
    better: Literal["lower", "higher"] | None
    digits: int

    @property
    def heading(self) -> str:
        """The label with an arrow towards better."""
        return self.label + {"lower": " ↓", "higher": " ↑", None: ""}[self.better]


@dataclass(frozen=True)
class Cell:
    """A value and its difference from the baseline; None where there is none.

    Attributes:
        value, low, high: the value and its 95% interval.
        delta, delta_low, delta_high: row minus baseline and its 95% interval.
        verdict: better, worse or undecided.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    delta: float | None = None
    delta_low: float | None = None
    delta_high: float | None = None
    verdict: str | None = None

    @property
    def mark(self) -> str:
        """✓ or ✗ where the difference is one, else nothing."""
        return MARKS.get(self.verdict or "", "")


METRICS = (
    Column("fid", "FID", "lower", 2),
    Column("clip_fid", "CLIP-FID", "lower", 2),
    Column("clipsim", "CLIPSIM", "higher", 3),
    Column("fvd", "FVD", "lower", 2),
    Column("is", "IS", "higher", 2),
    Column("accuracy", "Accuracy", "higher", 3),
)
ATTRIBUTES = tuple(
    Column(f"accuracy_{name}", name.capitalize(), "higher", 3)
    for name in ("shape", "colour", "size", "motion", "background", "texture")
)
COST = (Column("evaluations", "Evaluations", None, 0), Column("seconds", "Seconds", None, 2))


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first row is the baseline.

    Attributes:
        title: what is in it.
        columns: in order.
        rows: cells by column key, by row label.
    """

    title: str
    columns: Sequence[Column]
    rows: dict[str, dict[str, Cell]]

    @classmethod
    def of(cls, title: str, results: dict[str, Any], columns: Sequence[Column] = METRICS + COST) -> Table:
        """The table of a study's results.

        Args:
            title: what is in it.
            results: with ``rows``, each of them with ``label``, ``metrics``, ``differences`` (None for the
                baseline) and ``cost``.
            columns: which entries to show.
        """
        return cls(title, columns, {row["label"]: _cells(row, columns) for row in results["rows"].values()})

    def to_markdown(self) -> str:
        """The values with marks and, where there are differences, a second table of these."""
        values = {
            label: [f"{value(cells[c.key], c)} {cells[c.key].mark}".strip() for c in self.columns]
            for label, cells in self.rows.items()
        }
        parts = [f"**{self.title}**", _grid("", [column.heading for column in self.columns], values)]
        judged = [column for column in self.columns if column.better]
        differences = {
            label: [difference(cells[column.key], column) for column in judged]
            for label, cells in self.rows.items()
            if any(cell.delta is not None for cell in cells.values())
        }
        if differences:
            parts += [LEGEND, "Difference from the first row, with its 95% interval:"]
            parts.append(_grid("", [column.heading for column in judged], differences))
        return "\n\n".join(parts) + "\n"

    def to_csv(self) -> str:
        """One line a row and metric, at full precision."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_CSV_HEADER)
        for label, cells in self.rows.items():
            for column in self.columns:
                cell = cells[column.key]
                numbers = [cell.value, cell.low, cell.high, cell.delta, cell.delta_low, cell.delta_high]
                writer.writerow([label, column.key, column.better, *numbers, cell.verdict])
        return stream.getvalue()


def scores_markdown(results: dict[str, Any]) -> str:
    """The metrics of one folder of videos with their intervals, and what to know about them.

    Args:
        results: ``results.json`` of an evaluation, with ``metrics``, ``absent`` and ``notes``.
    """
    lines = {}
    for column in METRICS + ATTRIBUTES:
        if column.key in results["metrics"]:
            bounds = results["metrics"][column.key].values()
            lines[column.heading] = [value(Cell(bound), column) for bound in bounds]
        elif column.key in results["absent"]:
            lines[column.heading] = [_ABSENT] * 3
    labels = {column.key: column.label for column in METRICS}
    absent = [f"{labels[name]}: {sentence}" for name, sentence in results["absent"].items()]
    grid = _grid("", ["value", "from", "to (95%)"], lines)
    return "\n".join([grid, "", *absent, *results["notes"]]) + "\n"


def value(cell: Cell, column: Column) -> str:
    """The value as text."""
    if cell.value is None:
        return _ABSENT
    return f"{cell.value:,.{column.digits}f}".replace("-", _MINUS)


def difference(cell: Cell, column: Column) -> str:
    """The difference with its interval and mark as text, for instance ``-2.10 [-3.95, -0.31] ✓``."""
    return (
        _ABSENT
        if cell.delta is None
        else f"{change(cell, column)} {bounds(cell, column)} {cell.mark}".strip()
    )


def change(cell: Cell, column: Column) -> str:
    """The difference alone, with its sign; for a cell that has one."""
    return _signed(cell.delta, column)


def bounds(cell: Cell, column: Column) -> str:
    """The interval of the difference in brackets; for a cell that has one."""
    return f"[{_signed(cell.delta_low, column)}, {_signed(cell.delta_high, column)}]"


def _cells(row: dict[str, Any], columns: Sequence[Column]) -> dict[str, Cell]:
    cells = {}
    for column in columns:
        if column.better is None:
            cells[column.key] = Cell(row["cost"][column.key])
            continue
        cell = Cell(**row["metrics"][column.key])
        if row["differences"]:
            found = row["differences"][column.key]
            cell = Cell(
                cell.value, cell.low, cell.high, found["value"], found["low"], found["high"], found["verdict"]
            )
        cells[column.key] = cell
    return cells


def _signed(number: float, column: Column) -> str:
    return f"{number:+,.{column.digits}f}".replace("-", _MINUS)


def _grid(corner: str, headings: Sequence[str], rows: dict[str, list[str]]) -> str:
    """A Markdown table whose source is aligned, so that it reads in a terminal too."""
    lines = [[corner, *headings], *([label, *cells] for label, cells in rows.items())]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headings) + 1)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def joined(cells: Sequence[str]) -> str:
        padded = [
            cells[0].ljust(widths[0]),
            *(text.rjust(width) for text, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join([joined(lines[0]), f"| {' | '.join(rule)} |", *map(joined, lines[1:])])
