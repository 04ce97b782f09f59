"""What a study leaves behind: its table in every format, its records, its drawings and its report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pos.generation import jsonable
from pos.metrics.registry import get_metric
from pos.reporting.cells import COST, Column, attribute_columns, metric_columns
from pos.reporting.charts.curves import curve, sweep_points
from pos.reporting.html import Curve, Panel, write_report
from pos.reporting.published import find_published
from pos.reporting.tables import Table
from pos.spr.rewriting import told
from pos.storage import asset, write_atomic
from pos.study.figures.base import Finding
from pos.study.study import Study

RECORDED_SWEEP = "shapes/eta_sweep.json"
"""The eta sweep that docs/results.md describes; shipped because it takes longer than Table 1."""

NOTHING = Finding({}, [])
"""What a study without a figure found beside its table."""

SUMMARY = (
    "POS improves the two inputs of a frozen text-to-video model, the noise (ONA, or NPNet in POS*) and the "
    "text (SPR). Every row starts from the same base noise for each prompt and seed."
)


def write_files(
    study: Study,
    results: dict[str, Any],
    *,
    report_prompts: int,
    published: Path | None = None,
    over: str | None = None,
    finding: Finding | None = None,
) -> Table:
    """``NAME.md``, ``.csv``, ``.tex``, ``.json``, ``.html``, drawings, ``results.jsonl`` and ``report.html``.

    All go to the study's folder; the last two are those of the study that was run last.

    Args:
        study: whose videos are all there.
        results: of ``score_study``.
        report_prompts: prompts whose videos the report shows.
        published: folder of the paper's tables; None takes the shipped ones.
        over: ``eta`` or ``gamma`` where the rows are a sweep of it, which is drawn.
        finding: of the study's figure.

    Returns:
        The main table.

    Raises:
        PosError: the folder cannot be written, or a published table is not one.
    """
    backbone = study.pipeline.backbone.name.replace(".", "")  # v0.9 is v09 where files are named
    paper = find_published(study.name, backbone, study.benchmark.name, published)
    title = _title(study)
    table = Table.of(title, results, [*_columns(results, metric_columns()), *COST], paper)
    details = Table.of("Accuracy by attribute", results, _columns(results, attribute_columns()))
    finding = finding or NOTHING
    table = replace(table, notes=[*table.notes, *finding.notes])
    tables = [found for found in (table, details) if found.columns]
    notes = [*results["notes"], *_notes(study, results)]
    drawings = {**_sweep(results, over, "This study."), **finding.drawings}
    shown: dict[str, str | bytes] = {
        f"{study.name}-{name}.png": png for name, png in finding.pictures.items()
    }
    shown |= {f"{study.name}-{name}.svg": drawing.svg for name, drawing in drawings.items()}
    texts = _texts(tables, notes, list(shown))
    record = jsonable({**results, "figure": finding.measured})
    texts["json"] = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    for name, content in (shown | {f"{study.name}.{kind}": text for kind, text in texts.items()}).items():
        write_atomic(study.out / name, content)
    study.write_records(study.out / "results.jsonl")
    page = study.out / f"{study.name}.html"
    write_report(
        page,
        title=title,
        summary=SUMMARY,
        tables=tables,
        curves=list(drawings.values()) or _recorded(results),
        pictures=finding.pictures,
        panels=_panels(study, report_prompts),
        notes=notes,
        setting=results["setting"],
        fps=study.pipeline.backbone.defaults.fps,
    )
    write_atomic(study.out / "report.html", page.read_bytes())
    return table


def _title(study: Study) -> str:
    if not study.rows:
        return f"{study.name}: {study.pipeline.backbone.name}, T = {study.pipeline.steps}"
    prompts = len(study.benchmark.prompts)
    return f"{study.name} on {study.benchmark.name}: {prompts} prompts, T = {study.pipeline.steps}"


def _columns(results: dict[str, Any], columns: Sequence[Column]) -> list[Column]:
    """Those that a row has a value for, or a reason why not."""
    rows = results["rows"].values()
    return [c for c in columns if any(c.key in row["metrics"] or c.key in row["absent"] for row in rows)]


def _texts(tables: list[Table], notes: list[str], shown: list[str]) -> dict[str, str]:
    """The tables by the kind of file; the Markdown has the notes and shows the drawings too."""
    links = [f"![{Path(name).stem}]({name})\n" for name in shown]
    listed = "".join(f"- {note}\n" for note in notes)
    parts = [*(table.to_markdown() for table in tables), *links, listed]
    texts = {"md": "\n".join(parts)}
    if tables[0].rows:
        texts |= {"csv": tables[0].to_csv(), "tex": "\n".join(table.to_latex() for table in tables)}
    return texts


def _notes(study: Study, results: dict[str, Any]) -> list[str]:
    """What a reader must know to trust the numbers."""
    notes = []
    if _is_shapes(results):
        notes.append(
            "Shapes is a small synthetic world: its numbers are never comparable with those of the paper."
        )
    if study.rows:
        notes.append(
            f"{len(study.requests)} videos a row. Frechet distances (FID, CLIP-FID, FVD) are inflated at "
            "small numbers of videos and compare only with those of equally many; the intervals are 95% "
            "bootstrap intervals over prompts, paired between rows."
        )
        notes.append("Cost counts what a video takes when nothing is cached.")
    if "source" in study.settings:
        notes.append(f"eta and gamma: {study.settings['source']}")
    for row in results["rows"].values():
        if row["rewriting"]:
            notes.append(_told_of_rewrites(row, _is_shapes(results)))
        if row["noise"]:
            notes.append(_told_of_noise(row))
    return notes


def _told_of_rewrites(row: dict[str, Any], of_shapes: bool) -> str:
    found = row["rewriting"]
    changed = ""
    if of_shapes:
        changed = f"; {found['changed_attribute']} changed an attribute that the prompt names"
    return f"{row['label']}: {told(found)}{changed}."


def _told_of_noise(row: dict[str, Any]) -> str:
    found = row["noise"]
    told = f"{row['label']}: starting noise of mean {found['start_mean']:+.3f}"
    told += f", deviation {found['start_std']:.3f}"
    if found["inverted_std"] is not None:
        told += f", inverted noise of deviation {found['inverted_std']:.3f}"
    if found["reconstruction_psnr"] is not None:
        told += f", clips sampled back from it at {found['reconstruction_psnr']:.1f} dB"
        told += f" ({found['least_reconstruction_psnr']:.1f} at the least)"
    return f"{told}."


def _is_shapes(results: dict[str, Any]) -> bool:
    return results["setting"]["benchmark"].startswith("shapes")


def _recorded(results: dict[str, Any]) -> list[Curve]:
    """The recorded sweep over eta, beside other results of the same world alone."""
    if not _is_shapes(results):
        return []
    recorded = json.loads(asset(RECORDED_SWEEP).read_text())
    setting = recorded["setting"]
    told = (
        f"Recorded: +ONA on {setting['prompts']} prompts of {setting['benchmark']}, T = {setting['steps']}; "
        "see docs/results.md."
    )
    return list(_sweep(recorded, "eta", told).values())


def _sweep(results: dict[str, Any], parameter: str | None, told: str) -> dict[str, Curve]:
    """A curve for each metric that at least two rows have, by the metric's name."""
    curves = {}
    for column in metric_columns() if parameter else ():
        plotted = get_metric(column.key).plotted
        points = sweep_points(results, parameter, column.key) if plotted else []
        if len(points) > 1:
            curves[column.key] = Curve(curve(points, column, parameter), told)
    return curves


def _panels(study: Study, count: int) -> list[Panel]:
    """The first prompts with the videos of every row, and the retrieved clip."""
    if not study.rows:
        return []
    labels = {key: row.label for key, row in study.rows.items()}
    ids = [prompt.id for prompt in study.benchmark.prompts[:count]]
    return [Panel.of(provenance, videos, labels, clip) for provenance, videos, clip in study.samples(ids)]
