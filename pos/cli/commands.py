"""The commands: what ``pos NAME`` and ``experiments/NAME.py`` do with the configuration ``conf/NAME.yaml``.

What a command needs is imported in its function, so that help and errors answer without loading torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pos.cli.command import command

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pos.data.benchmarks.benchmark import Benchmark

NOT_ARGUMENTS = frozenset({"_target_", "manifest", "logger", "plugins"})
"""Keys of a configuration that are not arguments of the function that its ``_target_`` names."""


@command("generate")
def generate(cfg: DictConfig) -> Mapping[str, Any]:
    from pos.generation import log_generation, run
    from pos.tracking.loggers import build_logger

    logger = build_logger(cfg)  # fails before the work
    return log_generation(logger, cfg, run(cfg))


@command("evaluate")
def evaluate(cfg: DictConfig) -> Mapping[str, Any]:
    from hydra.utils import instantiate

    from pos.reporting.tables import scores_markdown
    from pos.tracking.loggers import build_logger
    from pos.tracking.records import log_evaluation

    logger = build_logger(cfg)  # fails before the work
    benchmark = _benchmark(cfg)
    frames = instantiate(cfg.frames).of(benchmark, "generated")
    results = _call(cfg, benchmark=benchmark, frames=frames).to_json()
    _say(scores_markdown(results))
    return log_evaluation(logger, cfg, results)


@command("compare")
def compare(cfg: DictConfig) -> None:
    _say("\n".join(_call(cfg)))


@command("reproduce")
def reproduce(cfg: DictConfig) -> Mapping[str, Any]:
    from pos.study.reproduce import reproduce
    from pos.study.tracking import log_study
    from pos.tracking.loggers import build_logger

    logger = build_logger(cfg)  # fails before the work
    table = reproduce(cfg)
    if table is None:
        return {}
    _say(table.to_markdown())
    return log_study(logger, cfg)


@command("diagnose")
def diagnose(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from pos.diagnosis import diagnose, lines
    from pos.storage import write_atomic

    parts = {name: instantiate(cfg[name]) for name in ("backbone", "pool")}
    found = diagnose(**parts, **{name: cfg[name] for name in ("steps", "clips", "batch_size", "cache")})
    if cfg.out is not None:
        write_atomic(Path(cfg.out), json.dumps(found.to_json(), indent=1) + "\n")
    _say(lines(found))


@command("train")
def train(cfg: DictConfig) -> Mapping[str, float]:
    from pos.training import runner

    return (runner.refresh if cfg.refresh else runner.train)(cfg)


@command("convert")
def convert(cfg: DictConfig) -> None:
    for path in _call(cfg):
        _say(str(path))


@command("make_manifest")
def make_manifest(cfg: DictConfig) -> None:
    _call(cfg)


@command("make_reference")
def make_reference(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    benchmark = _benchmark(cfg)
    _call(cfg, benchmark=benchmark, frames=instantiate(cfg.frames).of(benchmark, "real"))


@command("dashboard")
def dashboard(cfg: DictConfig) -> None:
    from pos.storage import write_atomic
    from pos.tracking.dashboard import as_json, build, publish

    workspace = build(cfg.entity, cfg.project, cfg.name, cfg.wall, list(cfg.quality))
    write_atomic(Path(cfg.out), as_json(workspace))
    _say(publish(workspace, cfg.mode) or cfg.out)


@command("bench_generate")
def bench_generate(cfg: DictConfig) -> None:
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from pos.profiling.generation import GenerationBench, bench_generate

    settings = OmegaConf.to_container(cfg)
    model, device, out = instantiate(settings.pop("model")), settings.pop("device"), settings.pop("out")
    _write_rows(bench_generate(model, GenerationBench(**settings), device), Path(out))


@command("bench_metrics")
def bench_metrics(cfg: DictConfig) -> None:
    from omegaconf import OmegaConf

    from pos.profiling.metrics import MetricsBench, bench_metrics

    settings = OmegaConf.to_container(cfg)
    out = Path(settings.pop("out"))
    _write_rows(bench_metrics(MetricsBench(**settings)), out)


@command("bench_scvideo")
def bench_scvideo(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    _say(json.dumps(_call(cfg, network=lambda: instantiate(cfg.network)), indent=1))


@command("bench_study")
def bench_study(cfg: DictConfig) -> None:
    from omegaconf import OmegaConf

    from pos.profiling.study import bench_study

    settings = OmegaConf.to_container(cfg)
    out = Path(settings.pop("out"))
    _write_rows(bench_study(**settings), out)


COMMANDS = {
    task.__name__: task
    for task in (
        *(generate, diagnose, evaluate, compare, reproduce, train),
        *(make_manifest, make_reference, convert, dashboard),
        *(bench_generate, bench_metrics, bench_scvideo, bench_study),
    )
}
"""By name, in the order of the overview."""


def _call(cfg: DictConfig, **built: Any) -> Any:
    """Call what ``cfg._target_`` names with the other keys, each built; ``built`` takes the place of some."""
    from hydra.utils import get_method, instantiate
    from omegaconf import DictConfig

    nodes = {key: cfg[key] for key in cfg if key not in NOT_ARGUMENTS | built.keys()}
    arguments = {
        key: instantiate(node) if isinstance(node, DictConfig) else node for key, node in nodes.items()
    }
    return get_method(cfg._target_)(**arguments, **built)


def _benchmark(cfg: DictConfig) -> Benchmark:
    """The manifest that ``cfg.manifest`` names, else the benchmark as it is configured."""
    from hydra.utils import instantiate

    from pos.data.benchmarks.manifest import Manifest

    return instantiate(cfg.benchmark) if cfg.manifest is None else Manifest.load(cfg.manifest)


def _write_rows(rows: Iterable[Mapping[str, Any]], out: Path) -> None:
    """Write each row as a line of JSON as soon as it is measured, to ``out`` and to standard output."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w") as file:
        for row in rows:
            line = json.dumps(row)
            _say(line)
            file.write(f"{line}\n")
            file.flush()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
