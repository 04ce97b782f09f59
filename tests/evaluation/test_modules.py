"""torchmetrics' modules: the numbers of the functions, on one process and on two."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pos.data.shapes.world import draw_scenes, render
from pos.errors import PosError
from pos.evaluation.frames import GENERATED
from pos.evaluation.modules import ClipSimilarity, FrechetMetric, InceptionScore
from pos.metrics.clipsim import clipsim
from pos.metrics.frechet import FeatureStatistics, frechet_distance
from pos.metrics.inception_score import inception_score
from tests.evaluation.conftest import build_detectors

PROMPTS = [f"a {colour} ring" for colour in ("red", "blue", "green", "white") for _ in range(3)]
# The same batches in both cases: float32 networks round by their batch. One process gets more than the other.
ALL = [(0, 5), (5, 9), (9, 12)]
SHARED = [[(0, 5), (9, 12)], [(5, 9)]]


def clips() -> torch.Tensor:
    return render(draw_scenes(range(12)))


def build() -> dict[str, FrechetMetric | ClipSimilarity | InceptionScore]:
    detectors = build_detectors()
    real = 255 - clips()
    images, videos = (
        FeatureStatistics.of(detector.detect(real[:, list(indices)]))
        for detector, indices in ((detectors.fid, GENERATED.images), (detectors.fvd, GENERATED.clip_indices))
    )
    return {
        "fid": FrechetMetric(detectors.fid, images),
        "fvd": FrechetMetric(detectors.fvd, videos, GENERATED.clip_indices),
        "clipsim": ClipSimilarity(detectors.clip),
        "is": InceptionScore(detectors.inception, 5),
    }


def values(batches: list[tuple[int, int]]) -> dict[str, float]:
    modules, videos = build(), clips()
    for start, end in batches:
        for name, module in modules.items():
            texts = (PROMPTS[start:end],) if name == "clipsim" else ()
            module.update(videos[start:end], *texts)
    return {name: float(module.compute()) for name, module in modules.items()}


def worker(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(values(SHARED[rank]), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def alone() -> dict[str, float]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers: float32 sums round by their threads too
    found = values(ALL)
    torch.set_num_threads(threads)
    return found


def test_the_modules_give_the_numbers_of_the_functions(alone):
    """To the rounding of float32 networks."""
    detectors = build_detectors()
    parts = [detectors(clips()[start:end], PROMPTS[start:end]) for start, end in ALL]
    rows = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    ones = torch.ones(1, 12, dtype=torch.float64)
    for name, module in build().items():
        if isinstance(module, FrechetMetric):
            expected = frechet_distance(FeatureStatistics.of(rows[name]), module.reference)
            assert alone[name] == pytest.approx(expected, rel=1e-5)
            assert expected > 1e-3
    assert alone["clipsim"] == pytest.approx(float(clipsim(rows["clipsim"], ones)), abs=1e-7)
    assert alone["is"] == pytest.approx(float(inception_score(rows["classes"], ones)), rel=1e-6)


def test_two_processes_give_the_number_of_one(alone, tmp_path):
    mp.spawn(worker, args=(tmp_path,), nprocs=2)
    for rank in (0, 1):
        assert torch.load(tmp_path / f"{rank}.pt") == pytest.approx(alone, rel=1e-9)


def test_a_reset_module_has_seen_nothing():
    module = build()["fvd"]
    module.update(clips()[:4])
    module.reset()
    with pytest.raises(PosError, match="no video to score"):
        module.compute()
    module.update(clips()[:1])
    with pytest.raises(PosError, match="at least 2 feature vectors, and there is 1"):
        module.compute()
