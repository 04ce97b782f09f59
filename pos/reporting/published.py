"""The paper's Tables 1 to 4, which tables show beside our numbers of the same setting.

They are CSV files with one line for each number, which a reader can replace. They are never shown beside
results on Shapes, which is another benchmark.
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
        eta, gamma: its settings; None where the row has none.
        values: by metric.
    """

    eta: float | None
    gamma: float | None
    values: dict[str, float]


@dataclass(frozen=True)
class Published:
    """The published numbers of one study on one backbone and benchmark.

    Attributes:
        path: the file.
        rows: by key of the study's rows.
    """

    path: Path
    rows: dict[str, PublishedRow]

    def value(self, row: str, metric: str) -> float | None:
        """The paper's number; None where it gives none."""
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


def find_published(study: str, backbone: str, benchmark: str, folder: Path | None = None) -> Published | None:
    """The paper's numbers for a study, or None where it has none for this backbone and benchmark.

    Args:
        study: its name; ``NAME.csv`` is looked for.
        backbone, benchmark: their names in our configurations.
        folder: of the files; None takes the shipped ones.

    Raises:
        PosError: the folder or a column of the file is missing, a value is missing or no number, a number is
            given twice, or the file names Shapes.
    """
    if folder is not None and not Path(folder).is_dir():
        raise PosError(f"published={folder} is no folder: give a copy of pos/assets/paper.")
    path = (asset(FOLDER) if folder is None else Path(folder)) / f"{study}.csv"
    if not path.is_file() or _OURS in f"{backbone} {benchmark}":
        return None
    found = [line for _, line in read_csv(path, "published table", _COLUMNS, comments=True)]
    rows = _rows(path, found, backbone, benchmark)
    return Published(path, rows) if rows else None


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
        eta, gamma = (_number(path, line[name]) if line[name].strip() else None for name in ("eta", "gamma"))
        row = rows.setdefault(method, PublishedRow(eta, gamma, {}))
        if (row.eta, row.gamma) != (eta, gamma):
            raise PosError(f"{path} gives {method} of {backbone} on {benchmark} two settings.")
        if metric in row.values:
            raise PosError(f"{path} gives {metric} of {method} of {backbone} on {benchmark} twice.")
        row.values[metric] = _number(path, line["value"])
    return rows


def _number(path: Path, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise PosError(f"{path} holds {text!r} where only a number is allowed.")
    return number
