"""The evaluation commands: score a folder of videos, compute the statistics of real clips."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

import torch

from pos.data.benchmarks.benchmark import Benchmark
from pos.data.benchmarks.manifest import Manifest
from pos.data.benchmarks.real_videos import RealVideos
from pos.data.video.reading import Original
from pos.devices import resolve_device
from pos.errors import PosError
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.extraction import CaptionedVideo, extract_to, gather
from pos.evaluation.folder import Entry, describe_fitting, match_prompts, read_videos
from pos.evaluation.frames import GENERATED, Frames
from pos.evaluation.gathering import Gathered, needs_images
from pos.evaluation.real import RealStatistics
from pos.evaluation.reference import Reference
from pos.evaluation.results import Coverage, Evaluation
from pos.evaluation.score import caveats, missing, requested, score
from pos.evaluation.sizes import distances_by_size
from pos.storage import TensorCache, asset, lock_folder

logger = logging.getLogger(__name__)


def evaluate(
    videos: Path,
    prompts: Path | None,
    benchmark: Benchmark,
    detectors: Detectors,
    out: Path,
    *,
    reference: Path | None = None,
    frames: Frames = GENERATED,
    splits: int | None = None,
    unreadable: Literal["error", "skip"] = "error",
    resamples: int = 500,
    extrapolate: bool = False,
    seed: int = 0,
    device: str = "auto",
    batch_size: int = 64,
    cache: Path,
) -> Evaluation:
    """Score any folder of videos; writes ``features.safetensors`` and ``results.json``.

    Args:
        videos: the folder (``pos.data.video.listing.list_videos``).
        prompts: file of prompts; None looks into the folder (``folder.match_prompts``).
        benchmark: gives the prompts that coverage is counted on, and the reference statistics by default; of
            a manifest at least one prompt must have a video.
        detectors: that the reference was computed with; metrics whose detector is missing are left out.
        out: folder to write to.
        reference: another file of reference statistics (``make_reference``).
        frames: which frames are scored.
        splits: of the inception score; None takes the manifest's, else 1.
        unreadable: ``error`` or ``skip`` (``folder.read_videos``).
        resamples: of the bootstrap.
        extrapolate: whether the distances' limits at infinitely many videos are reported too.
        seed: of the bootstrap and of the smaller sets.
        device: auto, cpu, cuda, ...
        batch_size: videos a batch.
        cache: folder of features by content; a killed run resumes from it.

    Returns:
        The results, as they are written to ``results.json``.

    Raises:
        PosError: videos or prompts are missing, do not match or cannot be read, there are fewer than two, or
            no metric can be computed.
    """
    videos, out = Path(videos), Path(out)
    entries = match_prompts(videos, prompts, {prompt.id: prompt.text for prompt in benchmark.prompts})
    manifest, detectors = Manifest.of(benchmark), detectors.for_frames(frames)
    splits = manifest.choices.get("splits", 1) if splits is None else splits
    if manifest is benchmark and not _covered(entries, benchmark):
        raise PosError(
            f"None of the {len(entries):,} videos of {videos} has an id or a prompt of {benchmark.name}: is "
            "this the manifest that they were made from?"
        )
    real = Reference.load(asset(benchmark.reference_asset) if reference is None else Path(reference))
    names = requested(detectors.extra)
    absent = missing(detectors.fingerprints, real, detectors.absent, names)
    if len(absent) == len(names):
        raise PosError(f"No metric can be computed. {' '.join(dict.fromkeys(absent.values()))}")
    kept: dict[Entry, Original] = {}
    with lock_folder(out):
        features = extract_to(
            out / "features.safetensors",
            _samples(entries, frames, detectors.size, unreadable, kept),
            len(entries),
            detectors,
            frames=frames,
            device=resolve_device(device),
            batch_size=batch_size,
            cache=TensorCache(cache, "features"),
        )
        computed = [name for name in names if name not in absent]
        scored = score(features, real, metrics=computed, splits=splits, resamples=resamples, seed=seed)
        coverage = _coverage(entries, kept, benchmark)
        results = Evaluation(
            videos=str(videos),
            benchmark=benchmark.name,
            manifest=manifest.hash,
            reference=real.source,
            reference_record=real.record,
            detectors=features.detectors,
            frames=frames,
            splits=splits,
            coverage=coverage,
            resamples=resamples,
            seed=seed,
            metrics=scored.estimates,
            sizes=distances_by_size(features, real, computed, seed=seed, extrapolate=extrapolate),
            absent=absent,
            notes=_describe_coverage(coverage, benchmark)
            + describe_fitting(list(kept.values()), frames.count, detectors.size)
            + real.notes
            + _departures(manifest, frames, splits, real)
            + caveats(features, real, computed),
        )
        results.save(out)
    return results


def make_reference(
    benchmark: Benchmark,
    detectors: Detectors,
    out: Path | None = None,
    *,
    videos: Path | None = None,
    frames: Frames = GENERATED,
    unreadable: Literal["error", "skip"] = "error",
    device: str = "auto",
    batch_size: int = 64,
    cache: Path,
) -> Reference:
    """Compute the statistics of real clips and write them.

    Args:
        benchmark: gives the clips and the name of the shipped file; a manifest names the videos of a folder.
        detectors: the weights that the statistics will belong to.
        out: the file; None replaces the shipped one.
        videos: a folder of real videos, all of them or those of the manifest; needs ``out``.
        frames: which frames of them are read.
        unreadable: ``error`` or ``skip`` (``folder.read_videos``); a manifest has its own policy.
        device: auto, cpu, cuda, ...
        batch_size: videos a batch.
        cache: folder of statistics by content, for a folder of videos.

    Raises:
        PosError: a folder without ``out``, videos that are missing or cannot be read, a manifest that they do
            not belong to, or a manifest together with ``unreadable``.
    """
    place, detectors = resolve_device(device), detectors.for_frames(frames)
    requested(detectors.extra)  # a misspelt name fails before the work
    if videos is None:
        reference = _benchmark_statistics(benchmark, detectors, frames, place, batch_size)
    elif out is None:
        raise PosError("videos is given: name the file to write with out=FILE.")
    else:
        real = _real_videos(benchmark, Path(videos), unreadable)
        reference = RealStatistics(real, detectors, cache, frames).compute(place, batch_size)
    path = asset(benchmark.reference_asset) if out is None else Path(out)
    reference.save(path)
    logger.info("Wrote %s: %s.", path, reference.source)
    return reference


def _real_videos(benchmark: Benchmark, folder: Path, unreadable: Literal["error", "skip"]) -> RealVideos:
    if not isinstance(benchmark, Manifest):
        return RealVideos.of_folder(folder, unreadable)
    if unreadable != "error":
        raise PosError(
            f"unreadable={unreadable}: a manifest carries its own policy, make it with faults.corrupt=skip."
        )
    return RealVideos.of_manifest(benchmark, folder)


def _benchmark_statistics(
    benchmark: Benchmark, detectors: Detectors, frames: Frames, device: torch.device, batch_size: int
) -> Reference:
    clips = (clip for batch, _ in benchmark.references(batch_size) for clip in batch)
    gathered = Gathered({}, needs_images(detectors.extra))
    for rows in gather(
        clips, None, detectors, frames=frames, device=device, batch_size=batch_size, label="Reference clips"
    ):
        gathered.add(rows)
    source = f"{gathered.read} reference clips of {benchmark.name}"
    fingerprints = detectors.fingerprints
    return Reference.gathered(gathered.statistics, fingerprints, source, images=gathered.images)


def _samples(
    entries: list[Entry],
    frames: Frames,
    size: tuple[int, int] | None,
    unreadable: Literal["error", "skip"],
    kept: dict[Entry, Original],
) -> Iterator[CaptionedVideo]:
    """The videos that can be read, each noted in ``kept``."""
    for entry, video, original in read_videos(entries, frames.count, size, unreadable):
        kept[entry] = original
        yield CaptionedVideo(entry.id, entry.prompt, video)


def _coverage(entries: list[Entry], kept: Collection[Entry], benchmark: Benchmark) -> Coverage:
    return Coverage(
        videos=len(kept),
        unreadable=[entry.path.name for entry in entries if entry not in kept],
        prompts=len({entry.prompt for entry in kept}),
        benchmark_prompts=_covered(kept, benchmark),
        benchmark_prompts_in_all=len(benchmark.prompts),
    )


def _covered(entries: Collection[Entry], benchmark: Benchmark) -> int:
    """How many prompts of the benchmark have a video: by id, else by text, where a video counts once."""
    known, named = {prompt.id for prompt in benchmark.prompts}, {entry.id for entry in entries}
    others = Counter(entry.prompt for entry in entries if entry.id not in known)
    left = Counter(prompt.text for prompt in benchmark.prompts if prompt.id not in named)
    return len(known & named) + (others & left).total()


def _departures(manifest: Manifest, frames: Frames, splits: int, real: Reference) -> list[str]:
    """Where the scoring differs from what the manifest says."""
    made = {
        "generated_images": list(frames.images),
        "generated_clip": list(frames.clip_indices),
        "splits": splits,
        **{f"real_{name}": real.record[name] for name in ("images", "clip") if name in real.record},
    }
    choices = manifest.choices
    sentences = [
        f"Scored with {name} {value}, and the manifest says {choices[name]}."
        for name, value in made.items()
        if choices.get(name, value) != value
    ]
    other = real.record.get("manifest", manifest.hash)
    if other != manifest.hash:
        sentences.append(
            f"The reference is of another manifest: {real.record['benchmark']} with the hash {other[:16]}."
        )
    return sentences


def _describe_coverage(coverage: Coverage, benchmark: Benchmark) -> list[str]:
    sentences = [
        f"{coverage.videos:,} videos of {coverage.prompts:,} different prompts; "
        f"{coverage.benchmark_prompts:,} of {coverage.benchmark_prompts_in_all:,} prompts of "
        f"{benchmark.name} have one."
    ]
    if coverage.unreadable:
        sentences.append(f"Left out as unreadable: {', '.join(coverage.unreadable)}.")
    return sentences
