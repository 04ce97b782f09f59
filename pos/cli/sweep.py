"""The jobs of a sweep: each leaves a record, none stops the others, and at the end a table gathers them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from pos.cli import overrides
from pos.cli.process import set_up_logging, started_as
from pos.errors import PosError
from pos.storage import content_hash, write_atomic

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pos.reporting.sweeps import Sweep

log = logging.getLogger(__name__)

RECORD = "job.json"
"""In the folder of every job: what it was given, what it measured, how long it took, or why it failed."""

_GONE = "It has not ended: it was killed, or is still running."

_LONGEST_NAME = 230
"""Bytes of a folder's name; most file systems take 255."""

Values = Mapping[str, Any]
"""What a task returns for the table: numbers, or mappings with ``value``, ``low`` and ``high``, by name."""


# What hydra/sweeper=optuna is unless told otherwise: FVD down and CLIPSIM up, a failed job is no end, and the
# same command asks for the same settings. It needs no database then (Optuna 2's need an older SQLAlchemy).
_OPTUNA = (
    "hydra.sweeper.direction=[minimize,maximize]",
    "hydra.sweeper.max_failure_rate=1.0",
    "hydra.sweeper.n_jobs=1",
    "hydra.sweeper.sampler.seed=0",
)


def settings(arguments: Sequence[str]) -> tuple[str, ...]:
    """What a sweeper is set to before the typed arguments count."""
    return _OPTUNA if "hydra/sweeper=optuna" in arguments else ()


def job_folder(typed: str) -> str:
    """What was typed as the name of a folder; the end of what a file system would refuse becomes a hash."""
    start, slash, name = typed.rpartition("/")
    if len(name.encode()) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME // 2]}-{content_hash(name)}"  # a letter may take several bytes
    return f"{start}{slash}{name}"


OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


class Watch(Callback):
    """Tells this process which sweep Hydra has begun: Hydra builds it, so what it sees lies in the class."""

    folder: ClassVar[Path | None] = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Failures of an earlier sweep in this folder are forgotten: they stand in no table twice."""
        Watch.folder = Path(config.hydra.sweep.dir)
        with contextlib.suppress(PosError):  # a damaged record is told of at the end
            for path, record in _records(Watch.folder):
                if record["failed"]:
                    path.unlink(missing_ok=True)


def own_folder() -> Path | None:
    """The folder of this job of a sweep; None outside a sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra_config = HydraConfig.get()
    return Path(hydra_config.runtime.output_dir) if hydra_config.mode == RunMode.MULTIRUN else None


def run_job(
    task: Callable[[DictConfig], Values | None],
    cfg: DictConfig,
    folder: Path,
    script: str,
    sentence: Callable[[Exception], str | None],
) -> list[float] | None:
    """One job, in this process or in a launcher's worker. What goes wrong in it is recorded, not raised.

    Args:
        task: the command.
        cfg: its configuration; ``out`` and ``export`` are put into ``folder``.
        folder: of the job.
        script: of the command; processes that the job starts run it with what this job alone would be given.
        sentence: says in one sentence what went wrong; None of a bug.

    Returns:
        The values that ``cfg.objectives`` names, for the sweeper; None without these, and of a failed job.
    """
    set_up_logging()
    _put_into(folder, cfg)
    typed = _typed()
    alone = typed | {key: cfg[key] for key in ("out", "export") if key in cfg}
    record: dict[str, Any] = {"overrides": typed, "values": None, "objectives": [], "failed": _GONE}
    _write(folder, record)
    began, objectives = time.perf_counter(), None
    try:
        with started_as([script, *(f"{key}={value}" for key, value in alone.items())], full_error=False):
            record["values"] = values = dict(task(cfg) or {})
            record["objectives"] = names = list(cfg.get("objectives") or [])
            objectives = [_number(name, values) for name in names] or None
        record["failed"] = None
    except Exception as error:  # one job must not end the others
        record["failed"] = sentence(error)
        if record["failed"] is None:
            log.exception("A bug ended the job in %s.", folder)
            record["failed"] = f"{type(error).__name__}: {error}"
        log.warning("The job in %s failed: %s", folder, record["failed"])
    record["seconds"] = round(time.perf_counter() - began, 3)
    _write(folder, record)
    return objectives


def gather(folder: Path) -> Sweep | None:
    """Write the table and the figures of all jobs in a sweep's folder and print it; None without any."""
    from pos.reporting.sweeps import Job, Sweep

    records = list(_records(folder))
    if not records:
        return None
    sweep = Sweep([Job(path.parent.relative_to(folder).as_posix(), **record) for path, record in records])
    for name, text in sweep.files().items():
        write_atomic(folder / name, text)
    sys.stdout.write(sweep.to_markdown())
    log.info("The sweep's table and figures are in %s", folder)
    return sweep


def check(sweep: Sweep, folder: Path) -> None:
    """Say which jobs failed.

    Raises:
        PosError: at least one did; what the others made stays.
    """
    failed = [job for job in sweep.jobs if job.failed]
    if failed:
        raise PosError(
            f"{len(failed)} of {len(sweep.jobs)} jobs failed, the first is {failed[0].name} "
            f"({failed[0].failed.rstrip('.')}): {folder / 'sweep.md'} names all."
        )


def _write(folder: Path, record: dict[str, Any]) -> None:
    if os.environ.get("SLURM_PROCID", "0") == "0":  # a scheduler may start several processes for one job
        write_atomic(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _records(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in folder.rglob(RECORD):
        try:
            yield path, json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise PosError(f"{path} is damaged ({error}): remove it and run the sweep again.") from error


def _put_into(folder: Path, cfg: DictConfig) -> None:
    """What jobs write must not be each other's."""
    if "out" in cfg:
        cfg.out = overrides.escape_interpolation(str(folder))
    if "export" in cfg:
        name = Path(cfg.export).name if cfg.export else "weights.safetensors"
        cfg.export = overrides.escape_interpolation(str(folder / name))


def _typed() -> dict[str, str]:
    """What was typed, by key, with this job's value where there are several."""
    from hydra.core.hydra_config import HydraConfig

    task = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return dict(overrides.typed(text) for text in task)


def _number(name: str, values: Values) -> float:
    if name not in values:
        raise PosError(f"objectives names '{name}': this command has only {', '.join(values) or 'none'}.")
    entry = values[name]
    return float(entry["value"] if isinstance(entry, Mapping) else entry)
