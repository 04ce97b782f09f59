"""Scores of a study: metrics, differences from the first row, cost, noise and rewrites of every row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from pos.data.benchmarks.manifest import Manifest
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.extraction import extract
from pos.evaluation.features import FeatureSet
from pos.evaluation.frames import GENERATED
from pos.evaluation.reference import Reference
from pos.evaluation.score import Score, compare, missing, requested, score
from pos.metrics.registry import get_metric
from pos.provenance import Cost, Provenance
from pos.storage import content_hash
from pos.study.results import NoiseSummary, RewriteSummary, RowResult, Setting, StudyResults
from pos.study.study import Study
from pos.video_folder import file_stem

_NO_REFERENCE = Reference({}, {}, "none")


def score_study(
    study: Study,
    detectors: Detectors,
    reference: Reference | None,
    device: torch.device | str = "cpu",
    no_reference: str = "",
) -> StudyResults:
    """Score every row of a study and compare it with the first; needs all videos.

    Args:
        study: whose videos were generated.
        detectors: of the metrics; a missing one states why.
        reference: statistics of real videos; None where there are none.
        device: of the detectors.
        no_reference: why there are none.

    Raises:
        PosError: a video is missing, or a metric requested in ``detectors.extra`` does not exist.
    """
    names = requested(detectors.extra)
    reasons = _missing_metrics(detectors, reference, no_reference, names)
    computed = [name for name in names if name not in reasons]
    first = next(iter(study.rows), None)
    results: dict[str, RowResult] = {}
    scores: dict[str, Score] = {}
    for key in study.pipelines:
        provenances, scored = study.provenances(key), None
        if detectors.fingerprints:
            scored = score(
                features(study, key, detectors, device),
                reference or _NO_REFERENCE,
                metrics=computed,
                splits=study.splits,
                resamples=study.resamples,
            )
            scores[key] = scored
        baseline = scores.get(first) if key != first else None
        results[key] = _result(study, key, provenances, scored, baseline, reasons)
    for key, row in study.rows.items():
        if row.against in scores and key in scores:
            differences = compare(scores[key], scores[row.against])
            label = study.rows[row.against].label
            results[key] = replace(results[key], against=(label, differences))
    columns = {name for row in results.values() for name in (*row.metrics, *row.cost.to_json())}
    return StudyResults(
        study=study.name,
        setting=replace(setting(study, detectors), reference=reference.source if reference else None),
        rows={key: results.get(key) or _gap(study, key, {*names, *columns}) for key in study.rows},
        notes=_notes(study, reference),
    )


def features(study: Study, key: str, detectors: Detectors, device: torch.device | str = "cpu") -> FeatureSet:
    """The features of a row's videos, in the order of ``study.requests``; stored beside the videos."""
    requests, folder = study.requests, study.videos(key)
    stems = [file_stem(request.id, request.seed) for request in requests]
    parts: list[Any] = [stems, detectors.fingerprints]
    if detectors.extra:
        parts.append(detectors.extra)
    if study.frames != GENERATED:
        parts.append(asdict(study.frames))
    path = folder.features_file(content_hash(*parts))
    if path.exists():
        return FeatureSet.load(path)
    found = extract(
        (folder.video(request, study.pipeline.frames) for request in requests),
        [request.id for request in requests],
        [request.prompt for request in requests],
        detectors,
        frames=study.frames,
        device=device,
        batch_size=study.score_batch,
        label=f"Scoring {study.rows[key].label}",
    )
    found.save(path)
    return found


def setting(study: Study, detectors: Detectors) -> Setting:
    """What the rows share, without the reference."""
    pipeline = study.pipeline
    return Setting(
        benchmark=study.benchmark.name,
        manifest=Manifest.of(study.benchmark).hash,
        prompts=len(study.benchmark.prompts),
        seeds=list(study.seeds),
        steps=pipeline.steps,
        guidance=pipeline.guidance,
        backbone=pipeline.backbone.name,
        weights=pipeline.backbone.fingerprint,
        precision=str(pipeline.backbone.dtype).removeprefix("torch."),
        device=str(pipeline.backbone.device),
        settings=dict(study.settings),
        detectors=detectors.fingerprints,
        resamples=study.resamples,
    )


def _notes(study: Study, reference: Reference | None) -> list[str]:
    """Deviations from the manifest, and remarks on the real videos."""
    manifest, pipeline = Manifest.of(study.benchmark), study.pipeline
    native = pipeline.backbone.defaults.guidance
    used = {
        "steps": pipeline.steps,
        "guidance": "native" if pipeline.guidance == native else pipeline.guidance,
    }
    notes = [
        f"Generated with {name} {value}; the manifest says {manifest.choices[name]}."
        for name, value in used.items()
        if manifest.choices.get(name, value) != value
    ]
    if reference is not None:
        notes += reference.notes
        other = reference.record.get("manifest", manifest.hash)
        if other != manifest.hash:
            notes.append(
                f"The reference is of another manifest: {reference.record['benchmark']} with the hash "
                f"{other[:16]}."
            )
    return notes


def _missing_metrics(
    detectors: Detectors, reference: Reference | None, no_reference: str, names: Collection[str]
) -> dict[str, str]:
    """Why metrics cannot be computed, by metric."""
    reasons = missing(detectors.fingerprints, reference or _NO_REFERENCE, detectors.absent, names)
    if reference is None:
        for name in names:
            metric = get_metric(name)
            if metric.compared and metric.detector in detectors.fingerprints:
                reasons[name] = no_reference
    return reasons


def _result(
    study: Study,
    key: str,
    provenances: Sequence[Provenance],
    scored: Score | None,
    baseline: Score | None,
    reasons: Mapping[str, str],
) -> RowResult:
    pipeline = study.pipelines[key]
    return RowResult(
        label=study.rows[key].label,
        method=pipeline.method,
        guidance=pipeline.guidance,
        metrics=scored.estimates if scored else {},
        differences=compare(scored, baseline) if scored and baseline else None,
        cost=Cost.of(provenances),
        noise=NoiseSummary.of(provenances),
        rewriting=RewriteSummary.of(provenances),
        videos=str(study.videos(key).path.relative_to(study.out)),
        missing=dict(reasons),
    )


def _gap(study: Study, key: str, columns: Iterable[str]) -> RowResult:
    """The result of a row that could not be generated."""
    row = study.rows[key]
    return RowResult(row.label, row.method, missing=dict.fromkeys(sorted(columns), study.gaps[key]))
