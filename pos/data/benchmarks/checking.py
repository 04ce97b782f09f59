"""Looking at the real videos of a benchmark: their hashes, and what becomes of those that have faults."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

from tqdm.auto import tqdm

from pos.data.benchmarks.benchmark import Benchmark
from pos.data.benchmarks.manifest import Item, Manifest
from pos.data.benchmarks.real_videos import digest_of
from pos.data.video.faults import Fault, Faults
from pos.data.video.listing import find_videos
from pos.data.video.reading import count_frames
from pos.errors import PosError

log = logging.getLogger(__name__)


def checked(manifest: Manifest, folder: Path, faults: Faults) -> Manifest:
    """The manifest with the hash of every real video, and the fault of those that have one.

    Args:
        manifest: names the videos, and the frames that are read of them.
        folder: that they lie in (``find_videos``).
        faults: the policy, recorded among the choices.

    Raises:
        PosError: the folder is absent, the benchmark has no files, or a fault whose policy is ``error``.
    """
    if any(item.video is None for item in manifest.items):
        raise PosError(f"The benchmark {manifest.name} renders its own clips: leave videos out.")
    frames = max(*manifest.choices["real_images"], *manifest.choices["real_clip"]) + 1
    paths = find_videos([item.video for item in manifest.items], folder)
    items = [
        _looked_at(item, path, Path(folder), faults, frames)
        for item, path in tqdm(
            zip(manifest.items, paths, strict=True), "Looking at real videos", len(paths), unit="video"
        )
    ]
    found = Counter(item.fault for item in items if item.fault)
    for fault, count in sorted(found.items()):
        log.warning("%d of %d videos are %s: %s.", count, len(items), fault, faults.of(fault))
    choices = {**manifest.choices, "faults": asdict(faults), "real_videos_found": dict(sorted(found.items()))}
    return Manifest(manifest.name, items, choices, manifest.sources)


def _looked_at(item: Item, path: Path | None, folder: Path, faults: Faults, frames: int) -> Item:
    if path is None:
        fault, said = "missing", f"The video {folder / item.video} does not exist."
    else:
        fault, said = _fault(path, frames)
    if fault is not None and faults.of(fault) == "error":
        raise PosError(f"{said} Set faults.{fault}=skip to leave such videos out.")
    return replace(item, fault=fault, sha256=None if path is None else digest_of(path))


def _fault(path: Path, frames: int) -> tuple[Fault | None, str]:
    try:
        count = count_frames(path)
    except PosError as error:
        return "corrupt", str(error)
    if count < frames:
        return "short", f"The video {path} holds {count} frames, and {frames} are needed."
    return None, ""


def make_manifest(benchmark: Benchmark, out: Path, videos: Path | None, faults: Faults) -> Manifest:
    """Write the manifest of a benchmark to ``out``, and its prompts beside it as .csv.

    Args:
        benchmark: any.
        out: the .json.
        videos: the folder of real videos; None looks at none, and the manifest holds no hash of theirs.
        faults: what becomes of those that have one, now or when their statistics are made; recorded.

    Raises:
        PosError: as ``checked``; a name that does not end in .json; the folder cannot be written.
    """
    out = Path(out)
    if out.suffix != ".json":
        raise PosError(f"out={out}: the name of a manifest must end in .json.")
    manifest = Manifest.of(benchmark)
    if videos is not None:
        manifest = checked(manifest, videos, faults)
    elif manifest.items[0].video is not None:
        choices = {**manifest.choices, "faults": asdict(faults)}
        manifest = Manifest(manifest.name, manifest.items, choices, manifest.sources)
    manifest.save(out)
    manifest.save_prompts(out.with_suffix(".csv"))
    seen = "not checked" if videos is None else manifest.coverage
    log.info(
        "Wrote %s and %s: %s prompts of %s; real videos: %s; hash %s.",
        out,
        out.with_suffix(".csv").name,
        f"{len(manifest.items):,}",
        manifest.name,
        seen,
        manifest.hash[:16],
    )
    return manifest
