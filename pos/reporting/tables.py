"""Results as tables: values, their differences from the first row with intervals, and the paper's numbers, as
Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pos.reporting import latex
from pos.reporting.cells import (
    ABSENT,
    LEGEND,
    Cell,
    Column,
    attribute_columns,
    difference,
    metric_columns,
    published,
    published_change,
    value,
)
from pos.reporting.markdown import grid
from pos.reporting.notes import beside, gaps
from pos.reporting.page import environment
from pos.reporting.published import Published
from pos.storage import csv_text

_DIFFERENCES = "Difference from the first row, with its 95% interval:"
_PAIRS = "Difference from another row, paired, with its 95% interval:"
_CSV_HEADER = (
    "row", "metric", "better", "value", "low", "high",
    "difference", "difference_low", "difference_high", "verdict",
    "published", "published_difference", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Rows of cells; the others are compared with the first.

    Attributes:
        title: of the table.
        columns: in order.
        rows: cells by column key, by row label.
        pairs: differences of a row from another than the first, by both labels.
        notes: what a reader of this table must know, one sentence each.
    """

    title: str
    columns: Sequence[Column]
    rows: dict[str, dict[str, Cell]]
    pairs: dict[str, dict[str, Cell]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        title: str,
        results: dict[str, Any],
        columns: Sequence[Column],
        paper: Published | None = None,
    ) -> Table:
        """The table of a study's results.

        Reporting knows no study: this is the one place that reads the JSON form of its results.

        Args:
            title: of the table.
            results: the JSON form, with ``rows`` by key, each of them with ``label``, ``method``,
                ``metrics`` (``value``, ``low`` and ``high`` by name), ``differences`` (with a ``verdict``
                each; None for the first row), perhaps ``against`` (the label ``row`` of another row and the
                ``differences`` from it), ``cost`` and, where something was not measured, ``absent``:
                the reason, by column key.
            columns: the entries to show.
            paper: the published numbers of the same study, backbone and benchmark.
        """
        first = next(iter(results["rows"]), "")
        rows = {
            row["label"]: {column.key: _cell(key, row, column, paper, first) for column in columns}
            for key, row in results["rows"].items()
        }
        notes = [*gaps(rows, columns), *(beside(paper, results, rows) if paper else [])]
        pairs = {
            f"{row['label']} \N{MINUS SIGN} {row['against']['row']}": {
                column.key: _difference_of(row["against"]["differences"].get(column.key))
                for column in columns
            }
            for row in results["rows"].values()
            if row.get("against")
        }
        return cls(title, columns, rows, pairs, notes)

    @property
    def compared(self) -> list[Column]:
        """The columns with a better direction, which alone have differences."""
        return [column for column in self.columns if column.better]

    @property
    def lines(self) -> list[tuple[str, dict[str, Cell]]]:
        """Label and cells of all rows, then of the pairs."""
        return [*self.rows.items(), *self.pairs.items()]

    @property
    def legend(self) -> str:
        """What the marks mean; nothing where no row was compared."""
        return LEGEND if any(_compared(cells) for cells in self.rows.values()) else ""

    def span(self, column: Column) -> tuple[float, float]:
        """From the lowest to the highest end of the column's intervals of differences, 0 among them."""
        cells = [cells[column.key] for cells in self.rows.values()]
        ends = [end for cell in cells for end in (cell.delta_low, cell.delta_high) if end is not None]
        return min([0.0, *ends]), max([0.0, *ends])

    def to_markdown(self) -> str:
        """The values with marks and, where there are differences, a second table of these."""
        parts = [f"**{self.title}**"]
        if self.rows:
            parts.append(grid("", _headings(self.columns), self._values()))
        differences = self._differences()
        if differences:
            parts += [LEGEND, _DIFFERENCES, grid("", _headings(self.compared), differences)]
        if self.pairs:
            parts += [_PAIRS, grid("", _headings(self.compared), self._paired())]
        return "\n\n".join([*parts, *self.notes]) + "\n"

    def to_csv(self) -> str:
        """One line for each row and metric, at full precision."""
        rows: list[Sequence[Any]] = [_CSV_HEADER]
        for label, cells in self.lines:
            for column in self.columns if label in self.rows else self.compared:
                cell = cells[column.key]
                numbers = [cell.value, cell.low, cell.high, cell.delta, cell.delta_low, cell.delta_high]
                texts = [cell.verdict, cell.published, cell.published_delta, cell.reason]
                rows.append([label, column.key, column.better, *numbers, *texts])
        return csv_text(rows)

    def to_latex(self) -> str:
        """A ``table*`` for ``booktabs``: the values and, where there are differences, a block of these."""
        blocks = [("", self._values())]
        differences = self._differences()
        if differences:
            empty = [ABSENT] * (len(self.columns) - len(self.compared))  # cost comes last and has none
            for title, lines in ((_DIFFERENCES, differences), (_PAIRS, self._paired())):
                if lines:
                    blocks.append((title, {label: cells + empty for label, cells in lines.items()}))
        notes = [self.legend, *self.notes] if differences else self.notes
        return latex.table(self.title, _headings(self.columns), blocks, notes)

    def to_html(self) -> str:
        """A ``<table>`` without a style; the report shows the same one styled and sortable."""
        return environment().get_template("table.html.jinja").module.table(self)

    def _values(self) -> dict[str, list[str]]:
        return self._lines(
            self.columns, lambda cell, column: f"{value(cell, column)} {cell.mark}".strip(), published
        )

    def _differences(self) -> dict[str, list[str]]:
        compared = {label: cells for label, cells in self.rows.items() if _compared(cells)}
        return Table("", self.columns, compared)._lines(self.compared, difference, published_change)

    def _paired(self) -> dict[str, list[str]]:
        return {
            label: [difference(cells[column.key], column) for column in self.compared]
            for label, cells in self.pairs.items()
        }

    def _lines(
        self,
        columns: Sequence[Column],
        measured: Callable[[Cell, Column], str],
        printed: Callable[[Cell, Column], str],
    ) -> dict[str, list[str]]:
        """Text by label: one line for each row, and one of the paper's below it where it has a number."""
        lines = {}
        for label, cells in self.rows.items():
            lines[label] = [measured(cells[column.key], column) for column in columns]
            if any(cell.published is not None for cell in cells.values()):
                lines[f"{label}, paper"] = [printed(cells[column.key], column) for column in columns]
        return lines


def scores_markdown(results: dict[str, Any]) -> str:
    """The metrics of one folder of videos with their intervals and notes, as Markdown.

    Args:
        results: the JSON form of an evaluation (``Evaluation.to_json``), with ``metrics``, ``sizes``,
            ``absent`` and ``notes``.
    """
    lines = {}
    for column in [*metric_columns(), *attribute_columns()]:
        if column.key in results["metrics"]:
            bounds = results["metrics"][column.key].values()
            lines[column.heading] = [value(Cell(bound), column) for bound in bounds]
        elif column.key in results["absent"]:
            lines[column.heading] = [ABSENT] * 3
    labels = {column.key: column.label for column in metric_columns()}
    absent = [f"{labels.get(name, name)}: {sentence}" for name, sentence in results["absent"].items()]
    scores = grid("", ["value", "from", "to (95%)"], lines)
    return "\n".join([scores, "", *_sizes(results["sizes"]), *absent, *results["notes"]]) + "\n"


def _sizes(sizes: dict[str, dict[str, Any]]) -> list[str]:
    """The distances at several numbers of videos; the last column is their limit at infinitely many."""
    lines, videos = {}, []
    for column in metric_columns():
        if column.key in sizes:
            found = sizes[column.key]
            videos = found["videos"]
            numbers = [*found["values"], *([found["limit"]] if "limit" in found else [])]
            lines[column.heading] = [value(Cell(number), column) for number in numbers]
    if not lines:
        return []
    headings = [f"{count:,}" for count in videos]
    headings += ["∞"] * (len(next(iter(lines.values()))) - len(videos))
    title = "By the number of videos, in the mean over random subsets:"
    return [title, "", grid("", headings, lines), ""]


def _cell(key: str, row: dict[str, Any], column: Column, paper: Published | None, first: str) -> Cell:
    absent = row.get("absent", {})
    if column.key in absent:
        found: dict[str, Any] = {"value": None, "reason": absent[column.key]}
    elif column.better is None:
        found = {"value": row["cost"][column.key]}
    else:
        found = dict(row["metrics"][column.key])
    if column.better and paper:
        found["published"], found["published_delta"] = (
            paper.value(key, column.key),
            paper.delta(key, first, column.key),
        )
    if column.better and row["differences"] and column.key in row["differences"]:
        found |= _delta(row["differences"][column.key])
    return Cell(**found)


def _delta(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "delta": entry["value"],
        "delta_low": entry["low"],
        "delta_high": entry["high"],
        "verdict": entry["verdict"],
    }


def _difference_of(entry: dict[str, Any] | None) -> Cell:
    """A cell of a difference alone."""
    return Cell(None) if entry is None else Cell(None, **_delta(entry))


def _compared(cells: dict[str, Cell]) -> bool:
    return any(cell.delta is not None for cell in cells.values())


def _headings(columns: Sequence[Column]) -> list[str]:
    return [column.heading for column in columns]
