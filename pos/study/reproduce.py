"""A configuration to a study, its scores and its files: what ``experiments/reproduce.py`` does."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from pos.config.building import build_check
from pos.config.explain import without_value
from pos.data.benchmarks.benchmark import Benchmark
from pos.data.benchmarks.manifest import Manifest
from pos.errors import PosError
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.frames import FrameChoice
from pos.evaluation.reference import Reference
from pos.evaluation.score import requested
from pos.generation import parse_seeds
from pos.method import Method
from pos.pipeline import Pipeline
from pos.reporting.tables import Table
from pos.storage import asset, lock_folder
from pos.study.figures.base import Figure
from pos.study.records import check_results
from pos.study.report import write_files
from pos.study.rows import Row
from pos.study.scores import score_study, setting
from pos.study.study import Study

log = logging.getLogger(__name__)


def reproduce(cfg: DictConfig) -> Table | None:
    """Run the study of a configuration and write its files to ``cfg.out``.

    Returns:
        The table, without rows where the study is a figure alone; None where this was one of several shards,
        which leave the scoring to a later run.

    Raises:
        PosError: bad input, a backbone that is absent or does not fit the benchmark, no row that can be
            made, or a folder that another run writes to or that holds another benchmark's results.
    """
    study, figure = build_study(cfg), build_figure(cfg)
    if figure is not None:
        figure.check(study)
    detectors = instantiate(cfg.detectors).for_frames(study.frames)
    requested(detectors.extra)  # a misspelt metric is said before anything is made
    check_fit(study, detectors, images=bool(cfg.study.get("images")))
    check_results(study.out / f"{study.name}.json", setting(study, detectors))
    reference, unreferenced = load_reference(cfg, study.benchmark)
    study.generate()
    if study.shard.count > 1:
        log.info(
            "This part is done. When all %d are: the same command without shard.count scores.",
            study.shard.count,
        )
        return None
    device = study.pipeline.backbone.device
    with lock_folder(study.out):
        results = score_study(study, detectors, reference, device, unreferenced)
        table = write_files(
            study,
            results,
            report_prompts=cfg.report_prompts,
            published=cfg.published,
            over=cfg.study.get("over"),
            finding=figure.measure(study, detectors, reference, device) if figure else None,
        )
    log.info("The report is %s", study.out / "report.html")
    return table


def build_study(cfg: DictConfig) -> Study:
    """The study of a configuration; nothing is run.

    A part that cannot be had (a pool, a language model, NPNet) leaves out the rows that need it.

    Raises:
        PosError: a value outside its range, an absent backbone, no row, or none that can be made.
    """
    benchmark, figure = build_benchmark(cfg), build_figure(cfg)
    rows, gaps = _rows(cfg)
    if not rows and figure is None:
        raise PosError(f"study.rows is empty: {cfg.study.name} needs at least one row.")
    methods = [row.method for row in rows.values()]
    needed = {
        "retriever": any(method.retrieves for method in methods) or (figure is not None and figure.retrieves),
        "rewriter": any(row.method.rewrites and row.rewriter is None for row in rows.values()),
        "npnet": any(method.predicts for method in methods),
    }
    parts = {name: _attempt(cfg[name]) if wanted else (None, None) for name, wanted in needed.items()}
    absent = {name: reason for name, (_, reason) in parts.items() if reason is not None}
    pipeline = Pipeline(
        backbone=instantiate(cfg.backbone),
        method=Method(),
        **{name: part for name, (part, _) in parts.items()},
        steps=cfg.steps,
        guidance=cfg.guidance,
        frames=cfg.frames,
        height=cfg.height,
        width=cfg.width,
        batch_size=cfg.batch_size,
        inversion_check=build_check(cfg.inversion_check),
        cache_dir=cfg.cache,
    )
    return Study(
        name=cfg.study.name,
        pipeline=pipeline,
        rows=rows,
        benchmark=benchmark,
        seeds=parse_seeds(cfg.seeds),
        out=Path(cfg.out),
        resamples=cfg.resamples,
        shard=instantiate(cfg.shard),
        frames=FrameChoice().of(benchmark, "generated"),
        splits=Manifest.of(benchmark).choices.get("splits", 1),
        absent=absent,
        gaps=gaps,
        settings=OmegaConf.to_container(cfg.settings),
    )


def build_figure(cfg: DictConfig) -> Figure | None:
    """What a study measures and draws beside its table, if anything."""
    node = cfg.study.get("figure")
    return None if node is None else instantiate(node)


def build_benchmark(cfg: DictConfig) -> Benchmark:
    """The manifest that ``cfg.manifest`` names, else the benchmark.

    Raises:
        PosError: the manifest is of another benchmark than the one chosen, or is to be cut.
    """
    if cfg.manifest is None:
        return instantiate(cfg.benchmark)
    manifest = Manifest.load(cfg.manifest)
    benchmark = manifest.name.split("-")[0]  # shapes-test is of shapes
    if benchmark not in cfg.benchmark._target_.lower():
        raise PosError(
            f"The manifest {cfg.manifest} is of {manifest.name}: choose benchmark={benchmark}, and the "
            "settings and detectors that go with it."
        )
    if cfg.benchmark.size is not None:
        raise PosError(
            f"benchmark.size={cfg.benchmark.size} cannot cut a manifest: make a smaller one, or take null."
        )
    return manifest


def load_reference(cfg: DictConfig, benchmark: Benchmark) -> tuple[Reference | None, str]:
    """The statistics of real videos that ``cfg.reference`` names, else those that the benchmark ships.

    Returns:
        None and the reason where none are named and none are shipped.

    Raises:
        PosError: those that are named are absent.
    """
    if cfg.reference is not None:
        return Reference.load(Path(cfg.reference)), ""
    try:
        return Reference.load(asset(benchmark.reference_asset)), ""
    except PosError as error:
        return None, str(error)


def check_fit(study: Study, detectors: Detectors, *, images: bool = False) -> None:
    """See that the backbone makes what the study, its benchmark and its detectors look at.

    Args:
        study: whose backbone is looked at.
        detectors: that its videos will be scored with.
        images: whether the study is one of image models.

    Raises:
        PosError: images where videos are looked at, the reverse, or videos of another size.
    """
    pipeline, name = study.pipeline, study.pipeline.backbone.name
    made = "images" if pipeline.frames == 1 else f"videos of {pipeline.frames} frames"
    if images and pipeline.frames > 1:
        raise PosError(
            f"{study.name} is a study of image models, and {name} makes {made}: choose backbone=sd15 or "
            "sdxl, and benchmark=coco."
        )
    if study.frames.count == 1 < pipeline.frames:
        raise PosError(
            f"{study.benchmark.name} is a benchmark of images, and {name} makes {made}: choose backbone=sd15 "
            "or sdxl, or another benchmark."
        )
    if study.frames.count > pipeline.frames:
        raise PosError(
            f"{study.benchmark.name} looks at {study.frames.count} frames of a video, and {name} makes "
            f"{made}: choose a video model as backbone, or for images benchmark=coco."
        )
    size = (pipeline.height, pipeline.width)
    if detectors.size not in (None, size):
        raise PosError(
            f"The detectors take videos of {detectors.size[0]}x{detectors.size[1]}, and {name} makes "
            f"{size[0]}x{size[1]}: choose detectors=paper, which take any."
        )


def _rows(cfg: DictConfig) -> tuple[dict[str, Row], dict[str, str]]:
    """The rows, and why those whose own rewriter cannot be had are gaps."""
    rows, gaps = {}, {}
    for key, node in (cfg.study.rows or {}).items():
        own, reason = _attempt(node.get("rewriter"))
        rows[key] = replace(instantiate(node, rewriter=None), rewriter=own)
        if reason is not None:
            gaps[key] = reason
    return rows, gaps


def _attempt(node: DictConfig | None) -> tuple[Any, str | None]:
    """What a node builds, or why it cannot be built. A bug is no reason: it is raised."""
    if node is None:
        return None, None
    try:
        return instantiate(node), None
    except MissingMandatoryValue as error:
        return None, without_value(error.full_key)
    except InstantiationException as error:
        if not isinstance(error.__cause__, PosError):
            raise
        return None, str(error.__cause__)
