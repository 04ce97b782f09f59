"""Looking at the real videos of a benchmark: their hashes, and what becomes of those that have faults."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from tqdm.auto import tqdm

from pos.data.benchmarks import Benchmark
from pos.data.manifest import Item, Manifest
from pos.data.video import count_frames
from pos.errors import PosError
from pos.storage import file_digest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Faults:
    """What becomes of a real video that is missing, corrupt or too short for the frames that are read.

    Attributes:
        missing, corrupt: ``error`` stops, ``skip`` leaves the video out of the real set.
        short: ``pad`` too, which repeats its last frame.

    Raises:
        PosError: another policy.
    """

    missing: Literal["error", "skip"] = "error"
    corrupt: Literal["error", "skip"] = "error"
    short: Literal["error", "skip", "pad"] = "pad"

    def __post_init__(self) -> None:
        for name, policy in asdict(self).items():
            allowed = ("error", "skip", "pad") if name == "short" else ("error", "skip")
            if policy not in allowed:
                raise PosError(f"faults.{name} must be {' or '.join(allowed)}, not {policy!r}.")


def checked(manifest: Manifest, folder: Path, faults: Faults) -> Manifest:
    """The manifest with the hash of every real video, and the fault of those that have one.

    Args:
        manifest: names the videos, and the frames that are read of them.
        folder: that they lie in.
        faults: the policy, recorded among the choices.

    Raises:
        PosError: the folder is absent, the benchmark has no files, or a fault whose policy is ``error``.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PosError(f"The folder of real videos {folder} does not exist.")
    if any(item.video is None for item in manifest.items):
        raise PosError(f"The benchmark {manifest.name} renders its own clips: leave videos out.")
    frames = max(*manifest.choices["real_images"], *manifest.choices["real_clip"]) + 1
    items = [
        _looked_at(item, folder, faults, frames)
        for item in tqdm(manifest.items, desc="Looking at real videos", unit="video")
    ]
    found = Counter(item.fault for item in items if item.fault)
    for fault, count in sorted(found.items()):
        log.warning("%d of %d videos are %s: %s.", count, len(items), fault, asdict(faults)[fault])
    choices = {**manifest.choices, "faults": asdict(faults), "real_videos_found": dict(sorted(found.items()))}
    return Manifest(manifest.name, items, choices, manifest.sources)


def _looked_at(item: Item, folder: Path, faults: Faults, frames: int) -> Item:
    path = folder / item.video
    fault, said = _fault(path, frames)
    if fault is not None and getattr(faults, fault) == "error":
        raise PosError(f"{said} Set faults.{fault}=skip to leave such videos out.")
    return replace(item, fault=fault, sha256=None if fault == "missing" else file_digest(path))


def _fault(path: Path, frames: int) -> tuple[Literal["missing", "corrupt", "short"] | None, str]:
    if not path.is_file():
        return "missing", f"The video {path} does not exist."
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
        faults: what becomes of those that have one.

    Raises:
        PosError: as ``checked``; a name that does not end in .json; the folder cannot be written.
    """
    out = Path(out)
    if out.suffix != ".json":
        raise PosError(f"out={out}: the name of a manifest must end in .json.")
    manifest = Manifest.of(benchmark)
    if videos is not None:
        manifest = checked(manifest, videos, faults)
    manifest.save(out)
    manifest.save_prompts(out.with_suffix(".csv"))
    seen = "not looked at" if videos is None else manifest.coverage
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
