"""What ``experiments/reproduce.py`` logs of a study."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pos.data.video.reading import read_video
from pos.data.video.writing import write_preview
from pos.provenance import Request
from pos.storage import read_jsonl
from pos.study.records import stem
from pos.tracking.loggers import Identity, Logger, Run, resolved
from pos.tracking.records import flat, metric_table, origin, strength

KINDS = ("md", "csv", "tex", "json")


def log_study(logger: Logger | None, cfg: DictConfig) -> dict[str, Any]:
    """Log a study that has been written: its tables and files, and each row's numbers and videos.

    A study of several rows is one run for the tables and one for each row, in a group of its name; a study of
    one row, as in a sweep, is one run.

    Returns:
        Metrics and cost of the last row: what the table of a sweep shows and a sweeper optimises.
    """
    out, name = Path(cfg.out), cfg.study.name
    results = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    rows = {key: row for key, row in results["rows"].items() if row["cost"]}  # the others were not made
    if logger is not None:
        with tempfile.TemporaryDirectory() as folder:
            wall = Wall(out, rows, cfg.report_prompts, Path(folder))
            _log(logger, out, name, rows, wall, resolved(cfg), _gaps(results))
    last = list(rows.values())[-1:]
    return {key: value for row in last for key, value in (row["metrics"] | row["cost"]).items()}


class Wall:
    """The videos of a study's first prompts, of the first seed, as GIFs.

    Args:
        out: the study's folder.
        rows: of its results.
        prompts: how many.
        folder: where the GIFs are put.
    """

    def __init__(self, out: Path, rows: Mapping[str, Any], prompts: int, folder: Path) -> None:
        self.rows = rows
        self._origins: dict[str, list[str]] = {}
        self._paths: dict[tuple[str, str], Path] = {}
        for entry in read_jsonl(out / "results.jsonl"):
            place = entry["row"], entry["id"]
            chosen = entry["id"] in self._origins or len(self._origins) < prompts
            if entry["row"] not in rows or not chosen or place in self._paths:
                continue
            told = zip(self._origins.get(entry["id"], [""] * 3), origin(entry), strict=True)
            self._origins[entry["id"]] = [old or new for old, new in told]
            name = stem(Request(entry["prompt"], entry["seed"], entry["id"]))
            self._paths[place] = folder / f"{entry['row']}-{name}.gif"
            video = read_video(out / rows[entry["row"]]["videos"] / f"{name}.safetensors")
            write_preview(self._paths[place], video)

    def of(self, row: str) -> list[tuple[Path, str]]:
        """The GIFs of a row with their prompts, in the same order for every row."""
        return [(self._paths[row, name], told[0]) for name, told in self._origins.items()]

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and lines: a line a prompt, with the video of each row."""
        columns = ["prompt", "rewritten prompt", "retrieved", *(row["label"] for row in self.rows.values())]
        lines = [
            [*told, *(self._paths.get((key, name)) for key in self.rows)]
            for name, told in self._origins.items()
        ]
        return columns, lines


def _log(
    logger: Logger,
    out: Path,
    name: str,
    rows: Mapping[str, Any],
    wall: Wall,
    config: dict[str, Any],
    gaps: list[list[str]],
) -> None:
    several = len(rows) > 1
    for key, row in rows.items() if several else ():
        with logger.run(Identity(row["label"], "row", out, config | _setting(key, row), name)) as run:
            _log_row(run, row, wall.of(key))
    own = {} if several else next((_setting(key, row) for key, row in rows.items()), {})
    with logger.run(Identity(f"{name} in {out.name}", "study", out, config | own, name)) as run:
        for key, row in () if several else rows.items():
            _log_row(run, row, wall.of(key))
        run.table("results", *metric_table({row["label"]: row["metrics"] for row in rows.values()}))
        run.table("cost", *_cost_table(rows))
        run.table("side_by_side", *wall.table())
        if gaps:
            run.table("gaps", ["row", "metric", "reason"], gaps)
        written = [*(out / f"{name}.{kind}" for kind in KINDS), out / "report.html"]
        written += sorted(path for path in out.glob(f"{name}-*") if path.suffix in (".svg", ".png"))
        run.files(f"{name}-results", "results", [path for path in written if path.exists()])
        run.files(f"{name}-videos", "manifest", [out / "results.jsonl"])
        if config.get("manifest"):
            run.files("benchmark", "manifest", [Path(config["manifest"])])


def _log_row(run: Run, row: Mapping[str, Any], videos: Sequence[tuple[Path, str]]) -> None:
    differences = {f"{name}_difference": entry for name, entry in (row["differences"] or {}).items()}
    run.metrics({**flat(row["metrics"] | differences), **row["cost"]})
    run.videos(videos)


def _setting(key: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"row": key, "label": row["label"], **strength(row["method"])}


def _gaps(results: Mapping[str, Any]) -> list[list[str]]:
    """Why what is missing is missing."""
    return [
        [row["label"], name, reason]
        for row in results["rows"].values()
        for name, reason in row["absent"].items()
    ]


def _cost_table(rows: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    names = list(dict.fromkeys(name for row in rows.values() for name in row["cost"]))
    return ["row", *names], [[row["label"], *(row["cost"].get(n) for n in names)] for row in rows.values()]
