"""The metrics beside the packages that they follow, on random weights and the same pixels, in one run.

clean-fid runs as it is, but for its loader of weights, which is handed ours. VideoGPT's FVD is no package:
its steps (all clips prepared at once, batches of 16 in torch's default layout, float32 covariances, roots by
singular values) are gone through here on the same network.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from pos.data.benchmarks.real_videos import RealVideos
from pos.data.video.writing import write_lossless
from pos.errors import PosError, require
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.detectors.paper import I3DLogits, InceptionFeatures
from pos.evaluation.detectors.preprocessing import i3d_input
from pos.evaluation.frames import Frames
from pos.evaluation.real import RealStatistics
from pos.metrics.frechet import FeatureStatistics, frechet_distance
from pos.networks.detectors.i3d import I3D
from pos.networks.detectors.inception import FIDInception
from pos.profiling.measures import timed

Row = dict[str, Any]
IMAGES = 5  # of a video
VIDEOGPT_BATCH = 16  # which its number of videos must be a multiple of
CPU = torch.device("cpu")


@dataclass(frozen=True)
class MetricsBench:
    """What is measured, on the CPU.

    Attributes:
        dims: features of the distance.
        vectors: how many, one measurement each; fewer than ``dims`` make singular covariances.
        fid_videos: of each of two sets, five images a video.
        fvd_videos: of each of two sets, a multiple of 16.
        side: height and width of a frame in pixels.
        workers: of clean-fid's loader, one measurement each.
        threads: of torch.
        seed: of weights, features and pixels.
    """

    dims: int
    vectors: list[int]
    fid_videos: int
    fvd_videos: int
    side: int
    workers: list[int]
    threads: int
    seed: int

    def __post_init__(self) -> None:
        if min(self.dims, self.fid_videos, self.side, self.threads, *self.vectors) < 1:
            raise PosError("dims, vectors, fid_videos, side and threads must be at least 1.")
        if min(self.workers, default=0) < 0:
            raise PosError(f"workers={self.workers} must be at least 0.")
        if self.fvd_videos < 1 or self.fvd_videos % VIDEOGPT_BATCH:
            raise PosError(f"fvd_videos={self.fvd_videos} must be a multiple of {VIDEOGPT_BATCH}.")


@torch.no_grad()
def bench_metrics(plan: MetricsBench) -> Iterator[Row]:
    """Measure; every row is given as soon as it is measured.

    Yields:
        JSON-able rows with their kind in ``case`` (``distance``, ``fid``, ``fvd``), seconds of both sides,
        their ratio, and what both computed.

    Raises:
        PosError: clean-fid is not installed.
    """
    torch.set_num_threads(plan.threads)
    generator = torch.Generator().manual_seed(plan.seed)
    for count in plan.vectors:
        yield _distance(plan.dims, count, generator)
    with tempfile.TemporaryDirectory() as folder:
        yield from _fid(plan, Path(folder), generator)
        yield _fvd(plan, Path(folder), generator)


def _distance(dims: int, count: int, generator: torch.Generator) -> Row:
    theirs = require("cleanfid.fid", extra="dev").frechet_distance
    spread = torch.linspace(0.2, 1.5, dims)
    sets = [torch.randn(count, dims, generator=generator) * scale for scale in (spread, spread.flip(0))]
    statistics = [FeatureStatistics.of(rows) for rows in sets]
    moments = [array for s in statistics for array in (s.mean.numpy(), s.covariance.numpy())]
    ours_s, ours = timed(lambda: frechet_distance(*statistics), CPU, repeats=3)
    theirs_s, reference = timed(lambda: float(theirs(*moments)), CPU)
    return {
        "case": "distance",
        "dims": dims,
        "vectors": count,
        **_compared(ours_s, theirs_s, ours, reference),
    }


def _fid(plan: MetricsBench, folder: Path, generator: torch.Generator) -> Iterator[Row]:
    """Two folders of images to a number, as clean-fid's ``compare_folders`` does, and the features alone."""
    network = _random(FIDInception(), generator)
    sets = [folder / "images" / name for name in ("a", "b")]
    for path in sets:
        _write_images(path, plan.fid_videos, plan.side, generator)
    model = clean_fid_model(network)
    detectors, frames = Detectors(fid=InceptionFeatures(network)), Frames(images=range(IMAGES), clip=1)

    def ours(path: Path, cache: Path) -> FeatureStatistics:
        statistics = RealStatistics(RealVideos.of_folder(path), detectors, cache, frames)
        return statistics.compute(batch_size=plan.fid_videos).statistics["fid"]

    cleanfid = require("cleanfid.fid", extra="dev")
    first_s, first = timed(lambda: ours(sets[0], folder / "cache"), CPU)
    second_s, second = timed(lambda: ours(sets[1], folder / "cache"), CPU)
    distance_s, distance = timed(lambda: frechet_distance(first, second), CPU)
    cached_s, _ = timed(lambda: ours(sets[0], folder / "cache"), CPU)
    count = IMAGES * plan.fid_videos
    for workers in plan.workers:
        options = {"mode": "clean", "num_workers": workers, "batch_size": 8, "device": CPU, "verbose": False}
        whole = partial(cleanfid.compare_folders, *map(str, sets), model, **options)
        theirs_s, reference = timed(whole, CPU)
        features_s, _ = timed(partial(cleanfid.get_folder_features, str(sets[0]), model, **options), CPU)
        yield {
            "case": "fid",
            "images": 2 * count,
            "clean_fid_workers": workers,
            **_compared(first_s + second_s + distance_s, theirs_s, distance, float(reference)),
            "features_s_per_image": round(first_s / count, 4),
            "clean_fid_features_s_per_image": round(features_s / count, 4),
            "cached_statistics_s": round(cached_s, 4),
        }


def _fvd(plan: MetricsBench, folder: Path, generator: torch.Generator) -> Row:
    """Two folders of lossless videos to a number."""
    network = _random(I3D(), generator)
    plain = I3D().eval()
    plain.load_state_dict(network.state_dict())
    sets = [folder / "videos" / name for name in ("a", "b")]
    for path in sets:
        for index in range(plan.fvd_videos):
            write_lossless(path / f"{index:04}.safetensors", _video(16, plan.side, generator))
    detectors = Detectors(fvd=I3DLogits(network))

    def ours() -> float:
        real = [
            RealStatistics(RealVideos.of_folder(path), detectors, folder / "fvd", Frames()) for path in sets
        ]
        return frechet_distance(*(statistics.compute().statistics["fvd"] for statistics in real))

    ours_s, distance = timed(ours, CPU)
    theirs_s, reference = timed(lambda: _videogpt(*(_read(path) for path in sets), plain), CPU)
    return {"case": "fvd", "videos": 2 * plan.fvd_videos, **_compared(ours_s, theirs_s, distance, reference)}


def _videogpt(first: list[Tensor], second: list[Tensor], network: nn.Module) -> float:
    """FVD as VideoGPT goes about it."""
    features = []
    for videos in (first, second):
        clips = torch.stack([i3d_input(video) for video in videos])
        features.append(torch.cat([network(part) for part in clips.split(VIDEOGPT_BATCH)]))
    means, covariances = [rows.mean(0) for rows in features], [torch.cov(rows.T) for rows in features]
    root = _root(covariances[0])
    trace = covariances[0].trace() + covariances[1].trace() - 2 * _root(root @ covariances[1] @ root).trace()
    return float((means[0] - means[1]).square().sum() + trace)


def _root(matrix: Tensor) -> Tensor:
    left, values, right = torch.linalg.svd(matrix)
    return left @ torch.where(values < 1e-10, values, values.sqrt()).diag() @ right


def _compared(ours_s: float, theirs_s: float, ours: float, theirs: float) -> Row:
    return {
        "ours_s": round(ours_s, 4),
        "reference_s": round(theirs_s, 4),
        "ratio": round(ours_s / theirs_s, 4),
        "ours": ours,
        "reference": theirs,
    }


def clean_fid_model(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """clean-fid's own Inception with our weights; as its TorchScript, it takes 0..255 and scales by 128."""
    module = require("cleanfid.inception_pytorch", extra="dev")
    classifier = nn.Linear(2048, 1008)
    state = {**network.state_dict(), "fc.weight": classifier.weight, "fc.bias": classifier.bias}
    loader, module.load_state_dict_from_url = module.load_state_dict_from_url, lambda *_, **__: state
    try:
        theirs = module.InceptionV3(resize_input=False, normalize_input=False).eval()
    finally:
        module.load_state_dict_from_url = loader
    return lambda batch: theirs((batch - 128) / 128)[0].flatten(1)


def _random(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """Weights that keep the scale of what passes through."""
    for parameter in network.parameters():
        if parameter.dim() > 1:
            fan_in = parameter[0].numel()
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (2 / fan_in) ** 0.5)
    return network.eval()


def _video(frames: int, side: int, generator: torch.Generator) -> Tensor:
    coarse = torch.randint(0, 256, (frames, 3, 8, 8), generator=generator).float()
    return nn.functional.interpolate(coarse, (side, side), mode="bilinear").to(torch.uint8)


def _write_images(folder: Path, videos: int, side: int, generator: torch.Generator) -> None:
    """A folder of frames for every video, which clean-fid reads as images."""
    for index in range(videos):
        place = folder / f"{index:04}"
        place.mkdir(parents=True)
        for number, frame in enumerate(_video(IMAGES, side, generator)):
            Image.fromarray(np.asarray(frame.permute(1, 2, 0))).save(place / f"{number}.png")


def _read(folder: Path) -> list[Tensor]:
    return [next(iter(load_file(path).values())) for path in sorted(folder.iterdir())]
