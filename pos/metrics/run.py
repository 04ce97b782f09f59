"""What the evaluation commands do: score a folder of videos, compute the statistics of real clips."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Literal

from pos.data.benchmarks import Benchmark
from pos.metrics.evaluation import caveats, extract, record, score
from pos.metrics.features import ShapesDetectors
from pos.metrics.folder import Entry, match_prompts, read_videos
from pos.metrics.reference import Reference
from pos.networks.placement import resolve_device
from pos.storage import TensorCache, asset, lock_folder, write_atomic

logger = logging.getLogger(__name__)


def evaluate(
    videos: Path,
    prompts: Path | None,
    benchmark: Benchmark,
    detectors: ShapesDetectors,
    out: Path,
    *,
    unreadable: Literal["error", "skip"] = "error",
    resamples: int = 500,
    seed: int = 0,
    device: str = "auto",
    batch_size: int = 64,
    cache: Path,
) -> dict[str, Any]:
    """Score any folder of videos; writes ``features.safetensors`` and ``results.json``.

    Args:
        videos: the folder (``folder.list_videos``).
        prompts: file of prompts; None looks into the folder (``folder.match_prompts``).
        benchmark: gives the reference statistics and the prompts that coverage is counted on.
        detectors: that the reference was computed with.
        out: folder to write to.
        unreadable: ``error`` or ``skip`` (``folder.read_videos``).
        resamples, seed: of the bootstrap.
        device: auto, cpu, cuda, ...
        batch_size: videos a batch.
        cache: folder of features by content; a killed run resumes from it.

    Returns:
        What is written to ``results.json``: ``metrics`` with value, low and high, ``coverage``, ``notes``.

    Raises:
        PosError: videos or prompts are missing, do not match or cannot be read, or there are fewer than two.
    """
    videos, out = Path(videos), Path(out)
    entries = match_prompts(videos, prompts)
    reference = Reference.load(asset(benchmark.reference_asset))
    with lock_folder(out):
        kept, clips = read_videos(entries, detectors.frames, detectors.height, detectors.width, unreadable)
        features = extract(
            clips,
            [entry.id for entry in kept],
            [entry.prompt for entry in kept],
            detectors,
            device=resolve_device(device),
            batch_size=batch_size,
            cache=TensorCache(cache, "features"),
        )
        scored = score(features, reference, resamples=resamples, seed=seed)
        coverage = _coverage(entries, kept, benchmark)
        results = {
            "videos": str(videos),
            "benchmark": benchmark.name,
            "reference": reference.source,
            "detectors": features.detectors,
            "coverage": coverage,
            "resamples": resamples,
            "seed": seed,
            "metrics": record(scored.estimates),
            "notes": _told(coverage, benchmark) + caveats(features, reference),
        }
        features.save(out / "features.safetensors")
        write_atomic(out / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    return results


def make_reference(
    benchmark: Benchmark,
    detectors: ShapesDetectors,
    out: Path | None = None,
    *,
    device: str = "auto",
    batch_size: int = 64,
) -> Reference:
    """Compute the statistics of a benchmark's real clips and write them.

    Args:
        benchmark: gives the clips and the name of the shipped file.
        detectors: the weights that the statistics will belong to.
        out: the file; None replaces the shipped one.
    """
    batches = list(benchmark.references(batch_size))
    captions = [caption for _, texts in batches for caption in texts]
    features = extract(
        (clip for clips, _ in batches for clip in clips),
        [f"reference-{index}" for index in range(len(captions))],
        captions,
        detectors,
        device=resolve_device(device),
        batch_size=batch_size,
        label="Reference clips",
    )
    reference = Reference.of(features, f"{len(features)} reference clips of {benchmark.name}")
    path = asset(benchmark.reference_asset) if out is None else Path(out)
    reference.save(path)
    logger.info("Wrote %s: %s.", path, reference.source)
    return reference


def _coverage(entries: list[Entry], kept: list[Entry], benchmark: Benchmark) -> dict[str, Any]:
    wanted = {prompt.text for prompt in benchmark.prompts}
    scored = {entry.prompt for entry in kept}
    return {
        "videos": len(kept),
        "unreadable": [entry.path.name for entry in entries if entry not in kept],
        "prompts": len(scored),
        "benchmark_prompts": len(wanted & scored),
        "benchmark_prompts_in_all": len(wanted),
    }


def _told(coverage: dict[str, Any], benchmark: Benchmark) -> list[str]:
    named, known = coverage["benchmark_prompts"], coverage["benchmark_prompts_in_all"]
    told = [
        f"{coverage['videos']:,} videos of {coverage['prompts']:,} prompts; {named:,} of these prompts are "
        f"among the {known:,} of {benchmark.name}."
    ]
    if coverage["unreadable"]:
        told.append(f"Left out as unreadable: {', '.join(coverage['unreadable'])}.")
    return told
