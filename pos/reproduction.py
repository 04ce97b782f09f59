"""A configuration to a study and its table, records and report: what ``experiments/reproduce.py`` does."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from pos.generation import build_check, parse_seeds
from pos.method import Method
from pos.metrics.reference import Reference
from pos.pipeline import Pipeline
from pos.reporting.figures import curve, sweep_points
from pos.reporting.html import Curve, Panel, write_report
from pos.reporting.tables import ATTRIBUTES, METRICS, Table
from pos.storage import asset, lock_folder, write_atomic
from pos.study import Row, Study

log = logging.getLogger(__name__)

RECORDED_SWEEP = "shapes/eta_sweep.json"
"""The eta sweep that docs/results.md describes; shipped because it takes longer than Table 1."""

CURVES = ("fvd", "clipsim", "accuracy")


def reproduce(cfg: DictConfig) -> Table | None:
    """Run the study of a configuration and write its files to ``cfg.out``.

    Returns:
        The table; None where this was one of several shards, which leave the scoring to a later run.

    Raises:
        PosError: bad input, an absent weight, or a folder that another run writes to.
    """
    detectors = instantiate(cfg.detectors)
    study = build_study(cfg)
    reference = Reference.load(asset(study.benchmark.reference_asset))
    study.generate()
    if study.shard.count > 1:
        log.info(
            "This part is done. When all %d are: the same command without shard.count scores.",
            study.shard.count,
        )
        return None
    with lock_folder(study.out):
        results = study.score(detectors, reference, study.pipeline.backbone.device)
        table = write_files(study, results, report_prompts=cfg.report_prompts)
    log.info("The report is %s", study.out / "report.html")
    return table


def build_study(cfg: DictConfig) -> Study:
    """The study of a configuration; nothing is run.

    Raises:
        PosError: a value outside its range, or absent weights.
    """
    rows: dict[str, Row] = {key: instantiate(row) for key, row in cfg.study.rows.items()}
    methods = [row.method for row in rows.values()]
    pipeline = Pipeline(
        backbone=instantiate(cfg.backbone),
        method=Method(),
        retriever=instantiate(cfg.retriever) if any(method.retrieves for method in methods) else None,
        rewriter=instantiate(cfg.rewriter) if any(method.rewrites for method in methods) else None,
        npnet=instantiate(cfg.npnet) if any(method.predicts for method in methods) else None,
        steps=cfg.steps,
        guidance=cfg.guidance,
        batch_size=cfg.batch_size,
        inversion_check=build_check(cfg.inversion_check),
        cache_dir=cfg.cache,
    )
    return Study(
        name=cfg.study.name,
        pipeline=pipeline,
        rows=rows,
        benchmark=instantiate(cfg.benchmark),
        seeds=parse_seeds(cfg.seeds),
        out=Path(cfg.out),
        resamples=cfg.resamples,
        shard=instantiate(cfg.shard),
    )


def write_files(study: Study, results: dict[str, Any], *, report_prompts: int) -> Table:
    """``NAME.md``, ``.csv`` and ``.json``, ``results.jsonl`` and ``report.html`` in the study's folder.

    Args:
        study: whose videos are all there.
        results: of ``study.score``.
        report_prompts: prompts whose videos the report shows.

    Returns:
        The main table.

    Raises:
        PosError: the folder cannot be written.
    """
    notes = _notes(study, results)
    prompts = len(study.benchmark.prompts)
    title = f"{study.name} on {study.benchmark.name}: {prompts} prompts, T = {study.pipeline.steps}"
    table = Table.of(title, results)
    details = Table.of("Accuracy by attribute", results, ATTRIBUTES)
    listed = "".join(f"- {note}\n" for note in notes)
    write_atomic(study.out / f"{study.name}.md", f"{table.to_markdown()}\n{details.to_markdown()}\n{listed}")
    write_atomic(study.out / f"{study.name}.csv", table.to_csv())
    write_atomic(study.out / f"{study.name}.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    study.write_records(study.out / "results.jsonl")
    write_report(
        study.out / "report.html",
        title=title,
        summary=(
            "POS improves the two inputs of a frozen text-to-video model, the noise (ONA, or NPNet in POS*) "
            "and the text (SPR). Every row starts from the same base noise for each prompt and seed."
        ),
        tables=[table, details],
        curves=_curves(results),
        panels=_panels(study, results, report_prompts),
        notes=notes,
        setting=results["setting"],
        fps=study.pipeline.backbone.defaults.fps,
    )
    return table


def _notes(study: Study, results: dict[str, Any]) -> list[str]:
    """What a reader must know to trust the numbers."""
    videos = len(study.requests)
    notes = [
        "Shapes is a small synthetic world: its numbers are never comparable with those of the paper.",
        f"{videos} videos a row. Frechet distances (FID, CLIP-FID, FVD) are inflated at small numbers of "
        "videos and compare only with those of equally many; the intervals are 95% bootstrap intervals over "
        "prompts, paired between rows.",
        "Cost counts what a video takes when nothing is cached.",
    ]
    for row in results["rows"].values():
        rewriting = row["rewriting"]
        if rewriting:
            notes.append(
                f"{row['label']}: {rewriting['accepted']} of {rewriting['prompts']} rewrites accepted "
                f"({rewriting['retried']} after a retry), {sum(rewriting['fallbacks'].values())} fell back "
                f"to the prompt, {rewriting['changed_attribute']} changed an attribute that the prompt names."
            )
        noise = row["noise"]
        told = f"{row['label']}: starting noise of mean {noise['start_mean']:+.3f}"
        told += f", deviation {noise['start_std']:.3f}"
        if noise["inverted_std"] is not None:
            told += f", inverted noise of deviation {noise['inverted_std']:.3f}"
        if noise["reconstruction_psnr"] is not None:
            told += f", clips sampled back from it at {noise['reconstruction_psnr']:.1f} dB"
            told += f" ({noise['least_reconstruction_psnr']:.1f} at the least)"
        notes.append(told + ".")
    return notes


def _curves(results: dict[str, Any]) -> list[Curve]:
    """This study's own sweep over eta or gamma, else the recorded one over eta."""
    methods = [row["method"] for row in results["rows"].values()]
    for parameter in ("eta", "gamma"):
        if results["study"] == parameter and len({method[parameter] for method in methods}) > 2:
            return _sweep(results, parameter, "This study.")
    path = asset(RECORDED_SWEEP)
    recorded = json.loads(path.read_text())
    setting = recorded["setting"]
    told = (
        f"Recorded: +ONA on {setting['prompts']} prompts of {setting['benchmark']}, T = {setting['steps']}; "
        "see docs/results.md."
    )
    return _sweep(recorded, "eta", told)


def _sweep(results: dict[str, Any], parameter: str, told: str) -> list[Curve]:
    columns = [column for column in METRICS if column.key in CURVES]
    return [
        Curve(curve(sweep_points(results, parameter, column.key), column, parameter), told)
        for column in columns
    ]


def _panels(study: Study, results: dict[str, Any], count: int) -> list[Panel]:
    """The first prompts with the videos of every row, and the retrieved clip."""
    labels = {key: row["label"] for key, row in results["rows"].items()}
    ids = [prompt.id for prompt in study.benchmark.prompts[:count]]
    return [Panel.of(provenance, videos, labels, clip) for provenance, videos, clip in study.samples(ids)]
