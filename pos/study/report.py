"""The files of a study: its table in every format, its results, its charts and its report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pos.metrics.registry import get_metric
from pos.reporting.cells import COST, Column, attribute_columns, metric_columns
from pos.reporting.charts.curves import curve, sweep_points
from pos.reporting.html import Curve, Panel, write_report
from pos.reporting.published import find_published
from pos.reporting.tables import Table
from pos.spr.rewriting import describe
from pos.storage import asset, write_atomic
from pos.study.figures.base import Finding
from pos.study.results import NoiseSummary, RewriteSummary, StudyResults
from pos.study.study import Study

RECORDED_SWEEP = "shapes/eta_sweep.json"
"""The eta sweep that docs/results.md describes; shipped because it takes longer than Table 1."""


NO_FINDING = Finding({}, [])
"""Of a study without a figure."""

SUMMARY = (
    "POS improves the two inputs of a frozen text-to-video model, the noise (ONA, or NPNet in POS*) and the "
    "text (SPR). Every row starts from the same base noise for each prompt and seed."
)


def write_files(
    study: Study,
    results: StudyResults,
    *,
    report_prompts: int,
    published: Path | None = None,
    over: str | None = None,
    finding: Finding | None = None,
) -> Table:
    """Write the files of a study to its folder.

    ``STUDY.md``, ``.csv``, ``.tex``, ``.json``, ``.html`` and images; ``results.jsonl`` and ``report.html``
    are those of the study that was run last.

    Args:
        study: with all its videos.
        results: of ``score_study``.
        report_prompts: prompts whose videos the report shows.
        published: folder of the paper's tables; None takes the shipped ones.
        over: ``eta`` or ``gamma`` where the rows are a sweep of it, which is drawn.
        finding: of the study's figure.

    Returns:
        The main table.

    Raises:
        PosError: the folder cannot be written, or a published table cannot be read.
    """
    finding = finding or NO_FINDING
    results = replace(results, figure=finding.measured)
    record = results.to_json()
    tables = _tables(study, results, record, published, finding.notes)
    notes = [*results.notes, *_notes(study, results)]
    charts = {**_sweep(record, over, "This study."), **finding.drawings}
    images: dict[str, str | bytes] = {}
    images |= {f"{study.name}-{name}.png": png for name, png in finding.pictures.items()}
    images |= {f"{study.name}-{name}.svg": chart.svg for name, chart in charts.items()}
    texts = _texts(tables, notes, list(images))
    texts["json"] = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    for name, content in (images | {f"{study.name}.{kind}": text for kind, text in texts.items()}).items():
        write_atomic(study.out / name, content)
    study.write_records(study.out / "results.jsonl")
    page = study.out / f"{study.name}.html"
    write_report(
        page,
        title=_title(study),
        summary=SUMMARY,
        tables=tables,
        curves=list(charts.values()) or _recorded(results),
        pictures=finding.pictures,
        panels=_panels(study, report_prompts),
        notes=notes,
        setting=results.setting.to_json(),
        fps=study.pipeline.backbone.defaults.fps,
    )
    write_atomic(study.out / "report.html", page.read_bytes())
    return tables[0]


def _tables(
    study: Study,
    results: StudyResults,
    record: dict[str, Any],
    published: Path | None,
    notes: Sequence[str],
) -> list[Table]:
    """The main table, and the accuracy by attribute where it was measured.

    Args:
        study: of the results.
        results: what the table shows.
        record: their JSON form.
        published: folder of the paper's tables.
        notes: of the figure.
    """
    backbone = study.pipeline.backbone.name.replace(".", "")  # v0.9 is v09 in the names of the files
    paper = find_published(study.name, backbone, study.benchmark.name, published)
    main = Table.of(_title(study), record, [*_columns(results, metric_columns()), *COST], paper)
    details = Table.of("Accuracy by attribute", record, _columns(results, attribute_columns()))
    main = replace(main, notes=[*main.notes, *notes])
    return [main, details] if details.columns else [main]


def _title(study: Study) -> str:
    if not study.rows:
        return f"{study.name}: {study.pipeline.backbone.name}, T = {study.pipeline.steps}"
    prompts = len(study.benchmark.prompts)
    return f"{study.name} on {study.benchmark.name}: {prompts} prompts, T = {study.pipeline.steps}"


def _columns(results: StudyResults, columns: Sequence[Column]) -> list[Column]:
    """Those that a row has a value for, or a reason why it is missing."""
    return [
        column
        for column in columns
        if any(column.key in row.metrics or column.key in row.missing for row in results.rows.values())
    ]


def _texts(tables: list[Table], notes: list[str], images: list[str]) -> dict[str, str]:
    """The tables by file ending; the Markdown also has the notes and links to the images."""
    links = [f"![{Path(name).stem}]({name})\n" for name in images]
    listed = "".join(f"- {note}\n" for note in notes)
    parts = [*(table.to_markdown() for table in tables), *links, listed]
    texts = {"md": "\n".join(parts)}
    if tables[0].rows:
        texts |= {"csv": tables[0].to_csv(), "tex": "\n".join(table.to_latex() for table in tables)}
    return texts


def _notes(study: Study, results: StudyResults) -> list[str]:
    """What a reader must know to interpret the numbers."""
    notes = []
    if results.is_shapes:
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
    for row in results.rows.values():
        if row.rewriting:
            notes.append(_rewriting_note(row.label, row.rewriting, results.is_shapes))
        if row.noise:
            notes.append(_noise_note(row.label, row.noise))
    return notes


def _rewriting_note(label: str, found: RewriteSummary, is_shapes: bool) -> str:
    changed = ""
    if is_shapes:
        changed = f"; {found.changed_attribute} changed an attribute that the prompt names"
    return f"{label}: {describe(found.to_json())}{changed}."


def _noise_note(label: str, found: NoiseSummary) -> str:
    note = f"{label}: starting noise of mean {found.start_mean:+.3f}, deviation {found.start_std:.3f}"
    if found.inverted_std is not None:
        note += f", inverted noise of deviation {found.inverted_std:.3f}"
    if found.reconstruction_psnr is not None:
        note += f", clips sampled back from it at {found.reconstruction_psnr:.1f} dB"
        note += f" ({found.least_reconstruction_psnr:.1f} at the least)"
    return f"{note}."


def _recorded(results: StudyResults) -> list[Curve]:
    """The recorded sweep over eta, beside other results of Shapes only."""
    if not results.is_shapes:
        return []
    recorded = json.loads(asset(RECORDED_SWEEP).read_text())
    setting = recorded["setting"]
    caption = (
        f"Recorded: +ONA on {setting['prompts']} prompts of {setting['benchmark']}, T = {setting['steps']}; "
        "see docs/results.md."
    )
    return list(_sweep(recorded, "eta", caption).values())


def _sweep(results: dict[str, Any], parameter: str | None, caption: str) -> dict[str, Curve]:
    """A curve for each metric that at least two rows have, by the metric's name.

    Args:
        results: the JSON form of a study's results.
        parameter: ``eta`` or ``gamma``; None draws nothing.
        caption: of the curves.
    """
    curves = {}
    for column in metric_columns() if parameter else ():
        plotted = get_metric(column.key).plotted
        points = sweep_points(results, parameter, column.key) if plotted else []
        if len(points) > 1:
            curves[column.key] = Curve(curve(points, column, parameter), caption)
    return curves


def _panels(study: Study, count: int) -> list[Panel]:
    """The first prompts with the videos of every row, and the retrieved clip."""
    if not study.rows:
        return []
    labels = {key: row.label for key, row in study.rows.items()}
    ids = [prompt.id for prompt in study.benchmark.prompts[:count]]
    return [
        Panel.of({key: entry.to_json() for key, entry in provenances.items()}, videos, labels, clip)
        for provenances, videos, clip in study.samples(ids)
    ]
