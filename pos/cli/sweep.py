"""The jobs of a sweep: each leaves a record, none stops the others, and at the end a table gathers them."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from pos.cli import folders
from pos.cli.process import set_up_logging, started_as
from pos.config import overrides
from pos.errors import PosError
from pos.storage import write_atomic

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pos.reporting.sweeps import Sweep

log = logging.getLogger(__name__)

RECORD = "job.json"
"""In the folder of every job: what it was given, what it measured, how long it took, or why it failed."""

_GONE = "It has not ended: it was killed, or is still running."

Values = Mapping[str, Any]
"""What a task returns for the table: numbers, or mappings with ``value``, ``low`` and ``high``, by name."""


# Defaults of hydra/sweeper=optuna: FVD down and CLIPSIM up, a failed job is no end, and the
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


class Watch(Callback):
    """Notes which sweep Hydra has begun in this process: in the class, since Hydra builds the object."""

    folder: ClassVar[Path | None] = None
    launched: ClassVar[list[dict[str, str]]] = []
    """What is typed for each job, as far as that is known before the first."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Failures of an earlier sweep in this folder are forgotten: they stand in no table twice."""
        Watch.folder = Path(config.hydra.sweep.dir)
        with contextlib.suppress(HydraException):  # the sweeper raises it again, and says it better
            Watch.launched = _launched(config)
        with contextlib.suppress(PosError):  # a damaged record is reported at the end
            for path, record in _records(Watch.folder):
                if record["failed"]:
                    path.unlink(missing_ok=True)


@contextlib.contextmanager
def gathered() -> Iterator[None]:
    """Write the table of the sweep that runs inside, if one does, also where it is broken off.

    Hydra's ``on_multirun_end`` is no place for it: Hydra does not call it when a job's process was killed or
    after Ctrl-C, and swallows what a callback raises, so that the command could not fail.

    Raises:
        PosError: a job failed, left no record or damaged it.
    """
    Watch.folder, Watch.launched = None, []
    try:
        yield
    finally:
        table = gather(Watch.folder) if Watch.folder else None
    if Watch.folder:
        check(table, Watch.folder, Watch.launched)


def run_job(
    task: Callable[[DictConfig], Values | None],
    cfg: DictConfig,
    folder: Path,
    script: Sequence[str],
    sentence: Callable[[Exception], str | None],
) -> list[float] | None:
    """One job, in this process or in a launcher's worker. What goes wrong in it is recorded, not raised.

    Args:
        task: the command.
        cfg: its configuration; ``out`` and ``export`` are put into ``folder``.
        folder: of the job.
        script: the words that start the command, for processes that the job starts by its own arguments.
        sentence: says in one sentence what went wrong; None of a bug.

    Returns:
        The values that ``cfg.objectives`` names, for a sweeper that searches; None without these, and of a
        failed job.
    """
    set_up_logging()
    folders.put_into(folder, cfg)
    typed = _typed()
    alone = typed | {key: cfg[key] for key in ("out", "export") if key in cfg}
    record: dict[str, Any] = {"overrides": typed, "values": None, "failed": _GONE}
    record |= {"objectives": [], "unmeasured": []}
    _write(folder, record)
    began, objectives = time.perf_counter(), None
    try:
        with started_as([*script, *(f"{key}={value}" for key, value in alone.items())], full_error=False):
            record["values"] = values = dict(task(cfg) or {})
            found = _objectives(list(cfg.get("objectives") or []), values)
            record["objectives"] = [name for name, number in found.items() if number is not None]
            record["unmeasured"] = [name for name, number in found.items() if number is None]
            objectives = [number for number in found.values() if number is not None] or None
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
    missing = Counter(name for job in sweep.jobs for name in job.unmeasured)
    if missing:
        listed = ", ".join(f"{name} by {count}" for name, count in missing.items())
        log.warning(
            "Objectives that jobs did not measure, of %d: %s. They are left out.", len(records), listed
        )
    log.info("The sweep's table and figures are in %s", folder)
    return sweep


def check(sweep: Sweep | None, folder: Path, launched: Sequence[Mapping[str, str]]) -> None:
    """Say which jobs left no record, and which failed.

    Args:
        sweep: of the records that there are.
        folder: of the sweep.
        launched: what was typed for each job; empty where that is not known.

    Raises:
        PosError: at least one did; what the others made stays.
    """
    jobs = sweep.jobs if sweep else []
    recorded = [job.overrides for job in jobs]
    missing = [typed for typed in launched if typed not in recorded]
    if missing:
        varied = [key for key in missing[0] if len({typed.get(key) for typed in launched}) > 1]
        first = ", ".join(f"{key}={missing[0][key]}" for key in varied or missing[0])
        raise PosError(
            f"{len(missing)} of {len(launched)} jobs left no record in {folder}, the first is {first}: every "
            "job needs a folder of its own in there."
        )
    failed = [job for job in jobs if job.failed]
    if failed:
        raise PosError(
            f"{len(failed)} of {len(jobs)} jobs failed, the first is {failed[0].name} "
            f"({failed[0].failed.rstrip('.')}): {folder / 'sweep.md'} names all."
        )


def _launched(config: DictConfig) -> list[dict[str, str]]:
    """What is typed for each job of the basic sweeper; nothing of a sweeper that searches."""
    if config.hydra.runtime.choices["hydra/sweeper"] != "basic":
        return []
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    task = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    parsed = parser.parse_overrides([*params, *task])
    choices = [
        _choices(override) for override in parsed if not override.get_key_element().startswith("hydra")
    ]
    return [dict(overrides.typed(text) for text in job) for job in itertools.product(*choices)]


def _choices(override: Override) -> Iterator[str]:
    """An override as Hydra hands it to a job, once for each of its values."""
    key = override.get_key_element()
    if override.is_discrete_sweep():
        return (f"{key}={value}" for value in override.sweep_string_iterator())
    return iter([f"{key}={override.get_value_element_as_str()}"])


def _write(folder: Path, record: dict[str, Any]) -> None:
    if os.environ.get("SLURM_PROCID", "0") == "0":  # a scheduler may start several processes for one job
        write_atomic(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _records(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in folder.rglob(RECORD):
        try:
            yield path, json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise PosError(f"{path} is damaged ({error}): remove it and run the sweep again.") from error


def _typed() -> dict[str, str]:
    """What was typed, by key, with this job's value where there are several."""
    task = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return dict(overrides.typed(text) for text in task)


def _objectives(names: Sequence[str], values: Values) -> dict[str, float | None]:
    """The values that a sweep looks at; None of those that this job did not measure.

    A study with gaps, a shard or a figure does not measure all of them: that is no failure, but a sweeper
    that searches cannot go on.

    Raises:
        PosError: a name that no command measures, or nothing measured for a sweeper that needs it.
    """
    from pos.reporting.sweeps import is_metric

    known = ", ".join(values) or "none"
    for name in names:
        if name not in values and not is_metric(name):
            raise PosError(f"objectives names '{name}': this command has only {known}.")
    found = {name: _number(values.get(name)) for name in names}
    missing = [name for name, number in found.items() if number is None]
    if missing and HydraConfig.get().runtime.choices["hydra/sweeper"] != "basic":
        raise PosError(
            f"The sweeper needs the objective '{missing[0]}', and this job did not measure it: name others "
            f"of {known} with objectives=[...]."
        )
    return found


def _number(entry: Any) -> float | None:
    number = entry.get("value") if isinstance(entry, Mapping) else entry
    return None if number is None else float(number)
