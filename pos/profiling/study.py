"""Videos a second of a study, and of its sampler, decoder and scoring alone; in one or several processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import multiprocessing

from pos.config.loading import load_config
from pos.devices import device_name, resolve_device
from pos.diffusion.ddim import Guided, sample
from pos.diffusion.noise import base_noise
from pos.errors import PosError
from pos.profiling.measures import clock
from pos.study.reproduce import build_study
from pos.study.scores import features
from pos.study.study import Study

Row = dict[str, Any]
PLAIN, ONA = "baseline", "ona"  # rows of Table 1
NEIGHBOURS = "neighbours.jsonl"  # of a cache folder (pos.retrieval)
WAIT = 1800  # seconds that processes wait for each other


@dataclass(frozen=True)
class StudyBench:
    """What is measured: the rows +ONA and plain model of Table 1 on Shapes.

    Attributes:
        per_process: videos of each process.
        batch_size: videos denoised at a time.
        steps: T.
        processes: how many run at once on this host, one measurement for each number.
        device, precision: ``cpu``, ``cuda``, ...; ``fp16``, ...

    Raises:
        PosError: fewer than one video or process.
    """

    per_process: int
    batch_size: int
    steps: int
    processes: Sequence[int]
    device: str
    precision: str

    def __post_init__(self) -> None:
        if min(self.per_process, *self.processes) < 1:
            raise PosError("per_process and processes must be at least 1.")

    def study(self, folder: Path, name: str) -> tuple[Study, DictConfig]:
        """The study of one process: a folder for its videos, one cache for all."""
        config = load_config(
            "reproduce",
            "profile=full",
            "seeds=0",
            "npnet=none",
            "inversion_check=false",
            *(f"~study.rows.{key}" for key in ("spr", "pos", "pos_star")),
            f"benchmark.size={self.per_process}",
            f"batch_size={self.batch_size}",
            f"steps={self.steps}",
            f"device={self.device}",
            f"precision={self.precision}",
            f"out={folder / name}",
            f"cache={folder / 'cache'}",
        )
        return build_study(config), config


def bench_study(
    *,
    per_process: int,
    batch_size: int,
    steps: int,
    processes: Sequence[int],
    device: str,
    precision: str,
    cache: Path | str,
) -> Iterator[Row]:
    """Measure a study; each row is yielded as soon as its number of processes is measured.

    Args:
        per_process, batch_size, steps, processes, device, precision: as for ``StudyBench``.
        cache: neighbours that are cached there are used; nothing is written to it.

    Yields:
        JSON-able rows, with the device and one row for each number of processes: videos a second of all
        processes in sum, of the sampler alone, the decoder alone, the study's plain row, its ONA row with
        all inversions to compute and with all cached, the scoring alone and, with several processes, the
        scoring of one while the others generate.
    """
    place = resolve_device(device)
    bench = StudyBench(per_process, batch_size, steps, list(processes), str(place), precision)
    yield {
        "case": "device",
        "device": device_name(place, 1),
        "torch": torch.__version__,
        "per_process": per_process,
        "batch_size": batch_size,
        "steps": steps,
        "precision": precision,
    }
    for count in bench.processes:
        with tempfile.TemporaryDirectory() as folder:
            _copy_neighbours(Path(cache), Path(folder) / "cache")
            rates = _run(bench, count, Path(folder))
        alone = rates["sampler"]
        generation = {name: rate / alone for name, rate in rates.items() if name.startswith(("plain", "ona"))}
        yield {
            "case": "rates",
            "processes": count,
            "videos_per_second": {name: round(rate, 2) for name, rate in rates.items()},
            "of_the_sampler": {name: round(ratio, 3) for name, ratio in generation.items()},
        }


def _copy_neighbours(source: Path, target: Path) -> None:
    """Inversions are measured and so computed again; neighbours, which need Sentence-BERT, need not be."""
    target.mkdir()
    if (source / NEIGHBOURS).is_file():
        shutil.copy(source / NEIGHBOURS, target)


def _run(bench: StudyBench, count: int, folder: Path) -> dict[str, float]:
    """Videos a second of each phase, in sum over the processes."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(count), context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(bench, index, count, folder, barrier, results))
        for index in range(count)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise PosError("A process of the benchmark failed: its error stands above.")
    spans = [results.get() for _ in workers]
    rates = {}
    for name in dict.fromkeys(name for span in spans for name in span):
        found = [span[name] for span in spans if name in span]
        rates[name] = sum(videos for videos, _ in found) / max(seconds for _, seconds in found)
    return rates


def _work(
    bench: StudyBench,
    index: int,
    count: int,
    folder: Path,
    barrier: Barrier,
    results: multiprocessing.SimpleQueue,
) -> None:
    """One process: every phase begins in all processes at once."""
    study, config = bench.study(folder, f"process-{index}")
    place, spans = study.pipeline.backbone.device, {}

    def phase(name: str, work: Callable[[], object]) -> None:
        barrier.wait(WAIT)
        started = clock(place)
        work()
        spans[name] = bench.per_process, clock(place) - started

    latents = list(_sample(study, bench.batch_size))[:1]  # the first batch starts the kernels
    study.pipeline.backbone.decode(latents[0])
    phase("sampler", lambda: latents.extend(_sample(study, bench.per_process)))
    phase("decoder", lambda: [study.pipeline.backbone.decode(batch) for batch in latents[1:]])
    latents.clear()
    detectors = instantiate(config.detectors).for_frames(study.frames)
    phase("plain", lambda: _fill(study, PLAIN))
    features(study, PLAIN, detectors, place)  # the first batch starts the kernels
    _forget(study, PLAIN, features_only=True)
    phase("scoring", lambda: features(study, PLAIN, detectors, place))
    phase("ona", lambda: _fill(study, ONA))
    _forget(study, ONA)
    phase("ona_cached", lambda: _fill(study, ONA))
    if count > 1:
        _forget(study, ONA)
        _forget(study, PLAIN, features_only=index == 0)
        if index == 0:
            phase("scoring_beside", lambda: features(study, PLAIN, detectors, place))
        else:
            phase("generation_beside", lambda: _fill(study, ONA))
    results.put(spans)


def _fill(study: Study, key: str) -> None:
    study.videos(key).fill(study.pipelines[key], study.requests)


def _forget(study: Study, key: str, *, features_only: bool = False) -> None:
    """Remove what a row wrote, so that the next phase writes it again."""
    path = study.videos(key).path
    if not features_only:
        shutil.rmtree(path)
        return
    for file in path.glob("features-*"):
        file.unlink()


@torch.no_grad()
def _sample(study: Study, videos: int) -> Iterator[torch.Tensor]:
    """Latents of plain noise, batch by batch: the sampler without anything around it."""
    pipeline = study.pipeline
    backbone, size = pipeline.backbone, pipeline.batch_size
    shape = backbone.latent_shape(pipeline.frames, pipeline.height, pipeline.width)
    requests = study.requests[:videos]
    for start in range(0, len(requests), size):
        batch = requests[start : start + size]
        eps = base_noise(shape, [request.id for request in batch], [request.seed for request in batch])
        texts = backbone.encode_text([request.prompt for request in batch])
        empty = backbone.encode_text([""]).repeat(len(batch))
        guided = Guided(backbone.predict, lambda _, texts=texts: texts, empty, pipeline.guidance)
        yield sample(guided, eps.to(backbone.device), backbone.levels(pipeline.steps))
