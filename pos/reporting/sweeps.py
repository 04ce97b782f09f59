"""The jobs of a sweep as one table, heat maps over two keys, and the Pareto front of its objectives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pos.reporting.cells import COST, Cell, Column, attribute_columns, metric_columns, value
from pos.reporting.charts.heatmaps import heatmap, scatter
from pos.reporting.markdown import grid
from pos.storage import csv_text

FRONT = "★"
_COST = {column.key: column for column in COST}
_BOUNDS = ("value", "low", "high")


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        name: its folder within the sweep's.
        overrides: the text of each override of this job, by key.
        values: numbers, or mappings with ``value``, ``low`` and ``high``, by name; None of a failed job.
        objectives: names of the values that the sweep optimises.
        unmeasured: objectives of which this job has no value.
        seconds: the time it took.
        failed: why it failed, one sentence; None where it succeeded.
    """

    name: str
    overrides: Mapping[str, str]
    values: Mapping[str, Any] | None
    objectives: Sequence[str] = ()
    seconds: float | None = None
    failed: str | None = None
    unmeasured: Sequence[str] = ()

    def cell(self, name: str) -> Cell:
        """A value with its interval, if any; an entry that is no number counts as missing."""
        entry = (self.values or {}).get(name)
        bounds = [entry.get(key) for key in _BOUNDS] if isinstance(entry, Mapping) else [entry, None, None]
        return Cell(*(number if isinstance(number, int | float) else None for number in bounds))


@dataclass(frozen=True)
class Sweep:
    """All jobs of a sweep.

    Attributes:
        jobs: in any order.
    """

    jobs: Sequence[Job]
    keys: list[str] = field(init=False)
    """The overrides whose values differ between jobs."""

    def __post_init__(self) -> None:
        named = dict.fromkeys(key for job in self.jobs for key in job.overrides)
        varied = [key for key in named if len({job.overrides.get(key) for job in self.jobs}) > 1]
        object.__setattr__(self, "keys", varied)
        ordered = sorted(self.jobs, key=lambda job: [_order(job.overrides.get(key)) for key in varied])
        object.__setattr__(self, "jobs", ordered)

    @property
    def columns(self) -> list[Column]:
        """The measured values: the metrics first, then cost, then any others."""
        known = _known()
        found = dict.fromkeys(name for job in self.jobs for name in job.values or ())
        names = [*(name for name in known if name in found), *(name for name in found if name not in known)]
        return [_column(name) for name in names]

    @property
    def objectives(self) -> list[Column]:
        """The columns of the objectives of which one direction is better."""
        named = dict.fromkeys(name for job in self.jobs for name in job.objectives)
        return [column for column in map(_column, named) if column.better]

    @property
    def front(self) -> list[Job]:
        """The jobs that no other one is at least as good as in all objectives and better in one."""
        scored = [(job, [_cost(job, column) for column in self.objectives]) for job in self.jobs]
        whole = [(job, costs) for job, costs in scored if costs and None not in costs]
        return [job for job, costs in whole if not any(_dominates(other, costs) for _, other in whole)]

    def to_markdown(self) -> str:
        """One line for each job: its overrides, the values, and the reason where it failed."""
        front, shown = self.front if len(self.objectives) > 1 else [], self._shown
        lines = {}
        for job in self.jobs:
            cells = [value(job.cell(column.key), column) for column in shown]
            note = f"failed: {job.failed}" if job.failed else FRONT if job in front else ""
            label = ", ".join(f"{name}={job.overrides.get(key, '')}" for key, name in self._names.items())
            lines[label or job.name] = [*cells, note]
        failed = sum(bool(job.failed) for job in self.jobs)
        title = f"**{len(self.jobs)} jobs{f', {failed} failed' if failed else ''}**"
        parts = [title, grid("", [*(column.heading for column in shown), "note"], lines)]
        if front:
            named = " and ".join(column.label for column in self.objectives)
            parts.append(
                f"{FRONT} on the Pareto front of {named}: no other job is better in one and as good in all."
            )
        return "\n\n".join(parts) + "\n"

    def to_csv(self, jobs: Sequence[Job] | None = None) -> str:
        """One line for each of these jobs, all by default, at full precision."""
        names = [column.key for column in self.columns]
        bounds = [(name, bound) for name in names for bound in self._bounds(name)]
        heading = [name if bound == "value" else f"{name}_{bound}" for name, bound in bounds]
        rows = [["job", *self.keys, *heading, "seconds_of_job", "failed"]]
        for job in self.jobs if jobs is None else jobs:
            typed = [job.overrides.get(key) for key in self.keys]
            numbers = [getattr(job.cell(name), bound) for name, bound in bounds]
            rows.append([job.name, *typed, *numbers, job.seconds, job.failed])
        return csv_text(rows)

    def files(self) -> dict[str, str]:
        """The files of a sweep by name: table, heat maps where two numbers vary, and the Pareto front."""
        files = {"sweep.md": self.to_markdown(), "sweep.csv": self.to_csv()}
        for column in self._shown:
            drawn = self._heatmap(column) if column.better else None
            if drawn:
                files[f"heat_{column.key}.svg"] = drawn
        if len(self.objectives) > 1 and self.front:
            files["pareto.csv"] = self.to_csv(self.front)
            files["pareto.svg"] = self._scatter()
        return files

    @property
    def _names(self) -> dict[str, str]:
        """The last part of each key where these differ, else the whole keys."""
        short = {key: key.rpartition(".")[2] for key in self.keys}
        return short if len(set(short.values())) == len(short) else {key: key for key in self.keys}

    @property
    def _shown(self) -> list[Column]:
        """All columns but details, such as accuracy_shape beside accuracy: these stand in the CSV.

        A registered metric is no detail of another because of its name: fvd_videomae stands beside fvd.
        """
        names, metrics = {column.key for column in self.columns}, {column.key for column in metric_columns()}
        parts = {name: [name[:i] for i, letter in enumerate(name) if letter == "_"] for name in names}
        return [c for c in self.columns if c.key in metrics or not names & set(parts[c.key])]

    def _bounds(self, name: str) -> tuple[str, ...]:
        return _BOUNDS if any(job.cell(name).low is not None for job in self.jobs) else _BOUNDS[:1]

    def _heatmap(self, column: Column) -> str | None:
        """None unless exactly two keys vary and both are numbers."""
        if len(self.keys) != 2:
            return None
        places = [tuple(_number(job.overrides.get(key)) for key in self.keys) for job in self.jobs]
        if any(None in place for place in places):
            return None
        values = [job.cell(column.key).value for job in self.jobs]
        return heatmap(dict(zip(places, values, strict=True)), column, *self._names.values())

    def _scatter(self) -> str:
        across, up = self.objectives[:2]
        front = self.front
        placed = [(job, job.cell(across.key).value, job.cell(up.key).value) for job in self.jobs]
        points = [(job.name, x, y, job in front) for job, x, y in placed if x is not None and y is not None]
        return scatter(points, across, up)


def is_metric(name: str) -> bool:
    """Whether a command measures a value of this name: a metric, an attribute's accuracy or a cost."""
    return name in _known() or name.partition("_")[0] in _COST


def _known() -> dict[str, Column]:
    return {column.key: column for column in (*metric_columns(), *attribute_columns(), *COST)}


def _column(name: str) -> Column:
    return _known().get(name, Column(name, name, None, 3))


def _number(text: str | None) -> float | None:
    try:
        return float((text or "").replace(".inf", "inf"))
    except ValueError:
        return None


def _order(text: str | None) -> tuple[bool, float, str]:
    """Numbers by size, before words."""
    number = _number(text)
    return (number is None, 0.0 if number is None else number, text or "")


def _cost(job: Job, column: Column) -> float | None:
    """The value with the sign that makes smaller better."""
    number = job.cell(column.key).value
    return None if number is None or math.isnan(number) else number * (1 if column.better == "lower" else -1)


def _dominates(costs: Sequence[float], others: Sequence[float]) -> bool:
    pairs = list(zip(costs, others, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
