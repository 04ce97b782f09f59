"""Columns and cells of a table, and their numbers as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pos.metrics.metric import Metric
from pos.metrics.registry import registered

MARKS = {"better": "✓", "worse": "✗"}
LEGEND = "✓ better and ✗ worse than the first row: the 95% interval of the paired difference leaves out 0."
ABSENT = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: of the entry in a row's ``metrics`` or ``cost``.
        label: its heading.
        better: which direction is better; None for columns without differences (cost).
        digits: after the decimal point.
    """

    key: str
    label: str
    better: Literal["lower", "higher"] | None
    digits: int

    @classmethod
    def of(cls, metric: Metric) -> Column:
        """The column of a metric."""
        return cls(metric.name, metric.label, metric.better, metric.digits)

    @property
    def heading(self) -> str:
        """The label with an arrow towards better."""
        return self.label + {"lower": " ↓", "higher": " ↑", None: ""}[self.better]


@dataclass(frozen=True)
class Cell:
    """A value and its difference from the first row; None where there is none.

    Attributes:
        value, low, high: the value and its 95% interval.
        delta, delta_low, delta_high: row minus first row and its 95% interval.
        verdict: better, worse or undecided.
        reason: why there is no value, one sentence, where something kept it from being measured.
        published, published_delta: the paper's value and its difference from that of the same first row.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    delta: float | None = None
    delta_low: float | None = None
    delta_high: float | None = None
    verdict: str | None = None
    reason: str | None = None
    published: float | None = None
    published_delta: float | None = None

    @property
    def mark(self) -> str:
        """✓ or ✗ where the difference is significant, else nothing."""
        return MARKS.get(self.verdict or "", "")


COST = (Column("evaluations", "Evaluations", None, 0), Column("seconds", "Seconds", None, 2))


def metric_columns() -> list[Column]:
    """The columns of all metrics: the paper's, accuracy, then the extras."""
    return [Column.of(metric) for metric in registered() if metric.detail_of is None]


def attribute_columns() -> list[Column]:
    """The columns of the accuracy of each attribute alone, and of other details of a metric."""
    return [Column.of(metric) for metric in registered() if metric.detail_of is not None]


def value(cell: Cell, column: Column) -> str:
    """The value as text."""
    return ABSENT if cell.value is None else _plain(cell.value, column)


def difference(cell: Cell, column: Column) -> str:
    """The difference with its interval and mark as text, for instance ``-2.10 [-3.95, -0.31] ✓``."""
    return (
        ABSENT if cell.delta is None else f"{change(cell, column)} {bounds(cell, column)} {cell.mark}".strip()
    )


def change(cell: Cell, column: Column) -> str:
    """The difference alone, with its sign; for a cell that has one."""
    return _signed(cell.delta, column)


def bounds(cell: Cell, column: Column) -> str:
    """The interval of the difference in brackets; for a cell that has one."""
    return f"[{_signed(cell.delta_low, column)}, {_signed(cell.delta_high, column)}]"


def published(cell: Cell, column: Column) -> str:
    """The paper's value as text."""
    return ABSENT if cell.published is None else _plain(cell.published, column)


def published_change(cell: Cell, column: Column) -> str:
    """The paper's difference as text; the paper gives no interval."""
    return ABSENT if cell.published_delta is None else _signed(cell.published_delta, column)


def _plain(number: float, column: Column) -> str:
    return f"{number:,.{column.digits}f}".replace("-", _MINUS)


def _signed(number: float | None, column: Column) -> str:
    if number is None:  # the interval of a single prompt
        return ABSENT
    return f"{number:+,.{column.digits}f}".replace("-", _MINUS)
