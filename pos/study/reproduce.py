"""A configuration to a study, its scores and its files: what ``experiments/reproduce.py`` runs."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from pos.config.building import attempt, build_parts, build_pipeline
from pos.data.benchmarks.benchmark import Benchmark
from pos.data.benchmarks.manifest import Manifest
from pos.errors import PosError
from pos.evaluation.detectors.base import Detectors
from pos.evaluation.frames import FrameChoice
from pos.evaluation.reference import Reference
from pos.evaluation.score import requested
from pos.generation import parse_seeds
from pos.reporting.tables import Table
from pos.storage import asset, lock_folder
from pos.study.figures.base import Figure
from pos.study.report import write_files
from pos.study.results import check_replaceable
from pos.study.rows import Row
from pos.study.scores import score_study, setting
from pos.study.study import Study

log = logging.getLogger(__name__)


def reproduce(cfg: DictConfig) -> Table | None:
    """Run the study of a configuration and write its files to ``cfg.out``.

    Returns:
        The table, without rows where the study is a figure only; None where this was one of several shards:
        a later run scores.

    Raises:
        PosError: bad input, a backbone that is missing or does not fit the benchmark, no row that can be
            generated, or a folder that another run writes to or that holds another benchmark's results.
    """
    study, figure = build_study(cfg), build_figure(cfg)
    if figure is not None:
        figure.check(study)
    detectors = instantiate(cfg.detectors).for_frames(study.frames)
    requested(detectors.extra)  # a misspelt metric is reported before anything is generated
    check_fit(study, detectors, images=bool(cfg.study.get("images")))
    check_replaceable(study.out / f"{study.name}.json", setting(study, detectors))
    reference, no_reference = load_reference(cfg, study.benchmark)
    study.generate()
    if study.shard.count > 1:
        log.info(
            "This shard is done. When all %d are, run the same command without shard.count to score.",
            study.shard.count,
        )
        return None
    device = study.pipeline.backbone.device
    with lock_folder(study.out):
        results = score_study(study, detectors, reference, device, no_reference)
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
    """The study of a configuration; nothing is generated.

    The rows that need a part that cannot be built (a pool, a language model, NPNet) are left out.

    Raises:
        PosError: a value outside its range, a missing backbone, no row, or none that can be generated.
    """
    benchmark, figure = build_benchmark(cfg), build_figure(cfg)
    rows, gaps = _rows(cfg)
    if not rows and figure is None:
        raise PosError(f"study.rows is empty: {cfg.study.name} needs at least one row.")
    needed = [part for row in rows.values() for part in row.parts]
    if figure is not None and figure.retrieves:
        needed.append("retriever")
    parts, missing = build_parts(cfg, dict.fromkeys(needed))
    pipeline = build_pipeline(cfg, parts)
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
        missing=missing,
        gaps=gaps,
        settings=OmegaConf.to_container(cfg.settings),
    )


def build_figure(cfg: DictConfig) -> Figure | None:
    """The figure of a study; None where it has none."""
    node = cfg.study.get("figure")
    return None if node is None else instantiate(node)


def build_benchmark(cfg: DictConfig) -> Benchmark:
    """The manifest that ``cfg.manifest`` names, else the benchmark.

    Raises:
        PosError: the manifest is of another benchmark than the chosen one, or a size is given with it.
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
        The statistics and ""; None and the reason where none are named and none are shipped.

    Raises:
        PosError: the named file is missing.
    """
    if cfg.reference is not None:
        return Reference.load(Path(cfg.reference)), ""
    try:
        return Reference.load(asset(benchmark.reference_asset)), ""
    except PosError as error:
        return None, str(error)


def check_fit(study: Study, detectors: Detectors, *, images: bool = False) -> None:
    """Check that the backbone generates what the study, its benchmark and its detectors take.

    Args:
        study: with the backbone and the benchmark.
        detectors: that its videos will be scored with.
        images: whether the study is one of image models.

    Raises:
        PosError: images where videos are taken, the reverse, or videos of another size.
    """
    pipeline, name = study.pipeline, study.pipeline.backbone.name
    output = "images" if pipeline.frames == 1 else f"videos of {pipeline.frames} frames"
    if images and pipeline.frames > 1:
        raise PosError(
            f"{study.name} is a study of image models, and {name} makes {output}: choose backbone=sd15 or "
            "sdxl, and benchmark=coco."
        )
    if study.frames.count == 1 < pipeline.frames:
        raise PosError(
            f"{study.benchmark.name} is a benchmark of images, and {name} makes {output}: choose "
            "backbone=sd15 or sdxl, or another benchmark."
        )
    if study.frames.count > pipeline.frames:
        raise PosError(
            f"{study.benchmark.name} looks at {study.frames.count} frames of a video, and {name} makes "
            f"{output}: choose a video model as backbone, or for images benchmark=coco."
        )
    size = (pipeline.height, pipeline.width)
    if detectors.size not in (None, size):
        raise PosError(
            f"The detectors take videos of {detectors.size[0]}x{detectors.size[1]}, and {name} makes "
            f"{size[0]}x{size[1]}: choose detectors=paper, which take any."
        )


def _rows(cfg: DictConfig) -> tuple[dict[str, Row], dict[str, str]]:
    """The rows, and why those whose own rewriter or pool cannot be built are left out, both by key."""
    rows, gaps = {}, {}
    for key, node in (cfg.study.rows or {}).items():
        found = {name: attempt(node.get(name)) for name in ("rewriter", "pool")}
        own = {name: part for name, (part, _) in found.items()}
        rows[key] = replace(instantiate(node, rewriter=None, pool=None), **own)
        reasons = [reason for _, reason in found.values() if reason is not None]
        if reasons:
            gaps[key] = reasons[0]
    return rows, gaps
