"""The scores of a study: metrics, differences from the first row, cost, noise and rewrites of every row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import torch

from pos.data.benchmarks.manifest import Manifest
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.extraction import extract
from pos.evaluation.features import FeatureSet
from pos.evaluation.frames import GENERATED
from pos.evaluation.reference import Reference
from pos.evaluation.score import Score, compare, missing, requested, score
from pos.generation import jsonable
from pos.metrics.registry import get_metric
from pos.storage import content_hash
from pos.study.records import read_made, read_provenance, stem
from pos.study.study import Study
from pos.study.summaries import cost, noise, rewriting

_NONE = Reference({}, {}, "none")


def score_study(
    study: Study,
    detectors: Detectors,
    reference: Reference | None,
    device: torch.device | str = "cpu",
    unreferenced: str = "",
) -> dict[str, Any]:
    """Score every row of a study and compare it with the first; needs all videos.

    Args:
        study: whose videos were made.
        detectors: those of them that are absent say why.
        reference: None where there is none.
        device: of the detectors.
        unreferenced: why there is no reference.

    Returns:
        JSON-able: ``study``, ``setting``, and ``rows`` by key with label, method, guidance, metrics,
        differences (None for the first), cost, noise, rewriting (None where nothing is rewritten), the folder
        of the videos, and ``absent``: why a metric, or everything in a row that could not be made, is
        missing, by name; and ``notes``: where this is not what the manifest says, and what is to be known of
        the real videos.

    Raises:
        PosError: a video is missing, or a metric asked for in ``detectors.extra`` is not known.
    """
    asked = requested(detectors.extra)
    lacking = _lacking(detectors, reference, unreferenced, asked)
    computed = [name for name in asked if name not in lacking]
    first = next(iter(study.rows), None)
    results: dict[str, Any] = {}
    baseline: Score | None = None
    for key in study.pipelines:
        folder = study.folder(key)
        made = [read_provenance(folder, request) for request in study.requests]
        scored = None
        if detectors.fingerprints:
            seen = features(study, key, detectors, device)
            scored = score(
                seen, reference or _NONE, metrics=computed, splits=study.splits, resamples=study.resamples
            )
        baseline = scored if key == first else baseline
        results[key] = _result(study, key, made, scored, baseline if key != first else None, lacking)
    found = {name for row in results.values() for name in (*row["metrics"], *row["cost"])}
    rows = {key: results.get(key) or _gap(study, key, {*asked, *found}) for key in study.rows}
    held = {**setting(study, detectors), "reference": reference.source if reference else None}
    return {"study": study.name, "setting": held, "rows": rows, "notes": _notes(study, reference)}


def features(study: Study, key: str, detectors: Detectors, device: torch.device | str = "cpu") -> FeatureSet:
    """What the detectors see in a row's videos, in the order of ``study.requests``; kept beside them."""
    requests, folder = study.requests, study.folder(key)
    parts: list[Any] = [[stem(request) for request in requests], detectors.fingerprints]
    if detectors.extra:
        parts.append(detectors.extra)
    if study.frames != GENERATED:
        parts.append(asdict(study.frames))
    path = folder / f"features-{content_hash(*parts)}.safetensors"
    if path.exists():
        return FeatureSet.load(path)
    found = extract(
        (read_made(folder, request, study.pipeline.frames) for request in requests),
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


def setting(study: Study, detectors: Detectors) -> dict[str, Any]:
    """All that was held fixed, JSON-able."""
    pipeline = study.pipeline
    return {
        "benchmark": study.benchmark.name,
        "manifest": Manifest.of(study.benchmark).hash,
        "prompts": len(study.benchmark.prompts),
        "seeds": list(study.seeds),
        "steps": pipeline.steps,
        "guidance": pipeline.guidance,
        "backbone": pipeline.backbone.name,
        "weights": pipeline.backbone.fingerprint,
        "precision": str(pipeline.backbone.dtype).removeprefix("torch."),
        "device": str(pipeline.backbone.device),
        "settings": dict(study.settings),
        "detectors": detectors.fingerprints,
        "resamples": study.resamples,
    }


def _notes(study: Study, reference: Reference | None) -> list[str]:
    manifest, pipeline = Manifest.of(study.benchmark), study.pipeline
    native = pipeline.backbone.defaults.guidance
    made = {
        "steps": pipeline.steps,
        "guidance": "native" if pipeline.guidance == native else pipeline.guidance,
    }
    told = [
        f"Made with {name} {value}, and the manifest says {manifest.choices[name]}."
        for name, value in made.items()
        if manifest.choices.get(name, value) != value
    ]
    if reference is not None:
        told += reference.notes
        other = reference.record.get("manifest", manifest.hash)
        if other != manifest.hash:
            told.append(
                f"The reference is of another manifest: {reference.record['benchmark']} with the hash "
                f"{other[:16]}."
            )
    return told


def _lacking(
    detectors: Detectors, reference: Reference | None, unreferenced: str, asked: Collection[str]
) -> dict[str, str]:
    """Why metrics cannot be computed, by metric."""
    told = missing(detectors.fingerprints, reference or _NONE, detectors.absent, asked)
    if reference is None:
        for name in asked:
            if get_metric(name).compared and get_metric(name).detector in detectors.fingerprints:
                told[name] = unreferenced
    return told


def _result(
    study: Study,
    key: str,
    provenance: list[dict[str, Any]],
    scored: Score | None,
    baseline: Score | None,
    lacking: Mapping[str, str],
) -> dict[str, Any]:
    pipeline = study.pipelines[key]
    return {
        "label": study.rows[key].label,
        "method": jsonable(asdict(pipeline.method)),
        "guidance": pipeline.guidance,
        "metrics": {name: found.to_json() for name, found in scored.estimates.items()} if scored else {},
        "differences": {name: found.to_json() for name, found in compare(scored, baseline).items()}
        if scored and baseline
        else None,
        "cost": cost(provenance),
        "noise": noise(provenance),
        "rewriting": rewriting(provenance),
        "videos": str(study.folder(key).relative_to(study.out)),
        "absent": dict(lacking),
    }


def _gap(study: Study, key: str, names: Iterable[str]) -> dict[str, Any]:
    """The result of a row that could not be made."""
    row = study.rows[key]
    nothing = dict.fromkeys(("guidance", "differences", "cost", "noise", "rewriting", "videos"))
    return {
        "label": row.label,
        "method": jsonable(asdict(row.method)),
        "metrics": {},
        "absent": dict.fromkeys(sorted(names), study.gaps[key]),
        **nothing,
    }
