"""The paper's Tables 1 to 4, which tables show beside our numbers of the same setting.

They are CSV files that a reader can fill in or replace: one line for each number, with an empty value for a
number that is not transcribed. They are never shown beside results on Shapes, which is another benchmark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pos.errors import PosError
from pos.storage import asset, read_csv

PAPER = "arXiv 2311.00949"
FOLDER = "paper"
"""The shipped asset folder with ``table1.csv`` and the other tables."""

_OURS = "shapes"
_COLUMNS = ("backbone", "benchmark", "method", "eta", "gamma", "metric", "value")


@dataclass(frozen=True)
class PublishedRow:
    """A row of a published table.

    Attributes:
        eta, gamma: its settings; None where the row has none, or where they are not transcribed.
        values: by metric; None for a number that is not transcribed.
    """

    eta: float | None
    gamma: float | None
    values: dict[str, float | None]


@dataclass(frozen=True)
class Published:
    """The published numbers of one study on one backbone and benchmark.

    Attributes:
        path: the file.
        rows: by key of the study's rows; empty where nothing of the table is transcribed.
    """

    path: Path
    rows: dict[str, PublishedRow]

    def value(self, row: str, metric: str) -> float | None:
        """The paper's number; None where it gives none or none is transcribed."""
        return self.rows[row].values.get(metric) if row in self.rows else None

    def delta(self, row: str, first: str, metric: str) -> float | None:
        """The paper's ``row`` minus its row ``first``; None for that row and where a number is missing."""
        value, base = self.value(row, metric), self.value(first, metric)
        return None if row == first or value is None or base is None else value - base

    def settings(self, row: str) -> dict[str, float]:
        """The row's published eta and gamma, where it has them."""
        found = self.rows.get(row, PublishedRow(None, None, {}))
        pairs = {"eta": found.eta, "gamma": found.gamma}
        return {name: number for name, number in pairs.items() if number is not None}

    def untranscribed(self, row: str, metric: str) -> bool:
        """Whether the paper gives a number that is not transcribed."""
        return row in self.rows and self.rows[row].values.get(metric, 0.0) is None


def find_published(study: str, backbone: str, benchmark: str, folder: Path | None = None) -> Published | None:
    """The paper's numbers for a study, or None where it has none for this backbone and benchmark.

    A file without lines means that nothing of its table is transcribed; it is returned in any setting.

    Args:
        study: its name; ``NAME.csv`` is looked for.
        backbone, benchmark: their names in our configurations.
        folder: of the files; None takes the shipped ones.

    Raises:
        PosError: the folder or a column of the file is missing, a value is no number, a number is given
            twice, or the file names Shapes.
    """
    if folder is not None and not Path(folder).is_dir():
        raise PosError(f"published={folder} is no folder: give a copy of pos/assets/paper.")
    path = (asset(FOLDER) if folder is None else Path(folder)) / f"{study}.csv"
    if not path.is_file() or _OURS in f"{backbone} {benchmark}":
        return None
    found = [line for _, line in read_csv(path, "published table", _COLUMNS, comments=True)]
    rows = _rows(path, found, backbone, benchmark)
    return Published(path, rows) if rows or not found else None


def _rows(
    path: Path, lines: Iterable[dict[str, str]], backbone: str, benchmark: str
) -> dict[str, PublishedRow]:
    rows: dict[str, PublishedRow] = {}
    for line in lines:
        if None in line or None in line.values():
            raise PosError(f"{path} must have {len(_COLUMNS)} values a line, and {line['method']!r} has not.")
        if _OURS in f"{line['backbone']} {line['benchmark']}":
            raise PosError(f"{path} names Shapes, whose numbers are never shown beside the paper's.")
        if (line["backbone"], line["benchmark"]) != (backbone, benchmark):
            continue
        method, metric = line["method"], line["metric"]
        eta, gamma, value = (_number(path, line[name]) for name in ("eta", "gamma", "value"))
        row = rows.setdefault(method, PublishedRow(eta, gamma, {}))
        if (row.eta, row.gamma) != (eta, gamma):
            raise PosError(f"{path} gives {method} of {backbone} on {benchmark} two settings.")
        if metric in row.values:
            raise PosError(f"{path} gives {metric} of {method} of {backbone} on {benchmark} twice.")
        row.values[metric] = value
    return rows


def _number(path: Path, text: str) -> float | None:
    try:
        number = float(text) if text.strip() else None
    except ValueError as error:
        raise PosError(f"{path} holds {text!r} where only a number or nothing is allowed.") from error
    if number is not None and math.isnan(number):
        raise PosError(f"{path} holds {text!r} where only a number or nothing is allowed.")
    return number
