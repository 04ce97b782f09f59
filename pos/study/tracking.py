"""What ``experiments/reproduce.py`` logs of a study, read from the files that the study wrote."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pos.data.video.reading import read_video
from pos.data.video.writing import write_preview
from pos.provenance import Provenance
from pos.storage import read_jsonl
from pos.study.results import RowResult, StudyResults
from pos.tracking.loggers import Identity, Logger, Run, resolved
from pos.tracking.records import flat, metric_table, strength
from pos.video_folder import file_stem

KINDS = ("md", "csv", "tex", "json")


def log_study(logger: Logger | None, cfg: DictConfig) -> dict[str, Any]:
    """Log a study whose files were written: its tables and files, and each row's numbers and videos.

    A study of several rows is one run for the tables and one for each row, in a group of its name; a study of
    one row, as in a sweep, is one run.

    Returns:
        Metrics and cost of the last row, for the table of a sweep and its sweeper; empty without rows.
    """
    out = Path(cfg.out)
    results = StudyResults.load(out / f"{cfg.study.name}.json")
    rows = {key: row for key, row in results.rows.items() if row.cost}  # the others were not generated
    if logger is not None:
        with tempfile.TemporaryDirectory() as folder:
            previews = Previews(out, rows, cfg.report_prompts, Path(folder))
            _log(logger, out, results, rows, previews, resolved(cfg))
    if not rows:
        return {}
    last = list(rows.values())[-1].to_json()
    return last["metrics"] | last["cost"]


class Previews:
    """The videos of a study's first prompts, of the first seed, as GIFs.

    Args:
        out: the study's folder.
        rows: of its results, by key.
        prompts: how many.
        folder: that the GIFs are written to.
    """

    def __init__(self, out: Path, rows: Mapping[str, RowResult], prompts: int, folder: Path) -> None:
        self.rows = rows
        self._texts: dict[str, list[str]] = {}
        self._paths: dict[tuple[str, str], Path] = {}
        for entry in read_jsonl(out / "results.jsonl"):
            row, provenance = entry["row"], Provenance.from_json(entry)
            name = provenance.id
            chosen = name in self._texts or len(self._texts) < prompts
            if row not in rows or not chosen or (row, name) in self._paths:
                continue
            known = self._texts.get(name, [""] * 3)
            self._texts[name] = [old or new for old, new in zip(known, provenance.texts, strict=True)]
            stem = file_stem(name, provenance.seed)
            self._paths[row, name] = folder / f"{row}-{stem}.gif"
            video = read_video(out / rows[row].videos / f"{stem}.safetensors")
            write_preview(self._paths[row, name], video)

    def of(self, row: str) -> list[tuple[Path, str]]:
        """The GIFs of a row with their prompts, in the same order for every row."""
        return [(self._paths[row, name], texts[0]) for name, texts in self._texts.items()]

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and lines: a line for each prompt, with the video of each row."""
        columns = ["prompt", "rewritten prompt", "retrieved", *(row.label for row in self.rows.values())]
        lines = [
            [*texts, *(self._paths.get((key, name)) for key in self.rows)]
            for name, texts in self._texts.items()
        ]
        return columns, lines


def _log(
    logger: Logger,
    out: Path,
    results: StudyResults,
    rows: Mapping[str, RowResult],
    previews: Previews,
    config: dict[str, Any],
) -> None:
    several, name = len(rows) > 1, results.study
    for key, row in rows.items() if several else ():
        with logger.run(Identity(row.label, "row", out, config | _setting(key, row), name)) as run:
            _log_row(run, row, previews.of(key))
    own = {} if several else next((_setting(key, row) for key, row in rows.items()), {})
    with logger.run(Identity(f"{name} in {out.name}", "study", out, config | own, name)) as run:
        for key, row in () if several else rows.items():
            _log_row(run, row, previews.of(key))
        run.table("results", *metric_table({row.label: row.to_json()["metrics"] for row in rows.values()}))
        run.table("cost", *_cost_table(rows))
        run.table("side_by_side", *previews.table())
        gaps = _gaps(results)
        if gaps:
            run.table("gaps", ["row", "metric", "reason"], gaps)
        _log_files(run, out, name, config.get("manifest"))


def _log_files(run: Run, out: Path, name: str, manifest: str | None) -> None:
    written = [*(out / f"{name}.{kind}" for kind in KINDS), out / "report.html"]
    written += sorted(path for path in out.glob(f"{name}-*") if path.suffix in (".svg", ".png"))
    run.files(f"{name}-results", "results", [path for path in written if path.exists()])
    run.files(f"{name}-videos", "manifest", [out / "results.jsonl"])
    if manifest:
        run.files("benchmark", "manifest", [Path(manifest)])


def _log_row(run: Run, row: RowResult, videos: Sequence[tuple[Path, str]]) -> None:
    record = row.to_json()
    differences = {f"{name}_difference": entry for name, entry in (record["differences"] or {}).items()}
    run.metrics({**flat(record["metrics"] | differences), **record["cost"]})
    run.videos(videos)


def _setting(key: str, row: RowResult) -> dict[str, Any]:
    return {"row": key, "label": row.label, **strength(row.method.eta, row.method.gamma)}


def _gaps(results: StudyResults) -> list[list[str]]:
    """Row, metric and reason of everything that is missing."""
    return [
        [row.label, name, reason] for row in results.rows.values() for name, reason in row.missing.items()
    ]


def _cost_table(rows: Mapping[str, RowResult]) -> tuple[list[str], list[list[Any]]]:
    costs = {row.label: row.cost.to_json() for row in rows.values()}
    names = list(dict.fromkeys(name for cost in costs.values() for name in cost))
    return ["row", *names], [[label, *(cost[name] for name in names)] for label, cost in costs.items()]
