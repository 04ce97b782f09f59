"""``@command("generate")`` makes an entry point of a function that takes a configuration."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.contrib.logging import logging_redirect_tqdm

from pos.cli.help import help_text
from pos.cli.process import FULL_ERROR, set_up_logging, started_as
from pos.config import overrides
from pos.config.explain import check_added, explain

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pos.cli import sweep

Task = Callable[["DictConfig"], "sweep.Values | None"]
"""A command: the values that it returns stand in the table of a sweep."""

# Hydra makes no folders and no logs of its own: a job writes to its key `out`, a job of a sweep to a folder
# in it that is named by what was typed, but for texts, paths and what changes no result.
_LOGGER = {"logger", *(f"logger.{key}" for key in ("mode", "project", "entity", "group", "tags"))}
_UNNAMED = sorted(overrides.SENTENCES | overrides.LITERALS | _LOGGER | {"objectives"})
_QUIET = (
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
    "hydra.sweep.dir='${sweep_folder:${oc.select:out,null}}'",
    "hydra.sweep.subdir='${job_folder:${hydra.job.override_dirname}}'",
    f"hydra.job.config.override_dirname.exclude_keys=[{','.join(_UNNAMED)}]",
    "+hydra.callbacks.watch._target_=pos.cli.sweep.Watch",
)


def command(config_name: str) -> Callable[[Task], Callable[[], None]]:
    """Run a function as a command with the configuration ``../conf/<config_name>.yaml`` beside its folder.

    The process exits with 0; with 2 and one sentence on stderr for bad input; with 130 after Ctrl-C.
    ``POS_DEBUG=1`` (or ``HYDRA_FULL_ERROR=1``) shows the traceback too. Any other exception is a bug and
    keeps its traceback.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @functools.wraps(task)
        def main() -> None:
            status = _run(task, config_name, sys.argv[1:])
            if status:
                sys.exit(status)

        return main

    return decorate


def _run(task: Task, config_name: str, arguments: Sequence[str]) -> int:
    conf = Path(inspect.getfile(task)).resolve().parent.parent / "conf"
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(help_text(conf, config_name))
        return 0
    debug = "1" in (os.environ.get("POS_DEBUG"), os.environ.get(FULL_ERROR))
    set_up_logging()
    try:
        check_added(conf, config_name, arguments)
        with logging_redirect_tqdm():
            _run_hydra(task, conf, config_name, arguments)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what is finished stays, and the same command goes on from there\n")
        return 130
    except Exception as error:
        sentence = explain(error, conf, config_name, arguments)
        if sentence is None:
            raise
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"error: {sentence}\n")
        return 2
    return 0


def _run_hydra(task: Task, conf: Path, config_name: str, arguments: Sequence[str]) -> None:
    import hydra

    from pos.cli import folders, sweep

    prepared = overrides.prepare(arguments, [*_QUIET, *sweep.settings(arguments)])
    typed, failed = [*sys.argv], []
    sentence = functools.partial(explain, conf=conf, config_name=config_name, arguments=arguments)

    @functools.wraps(task)
    def job(cfg: DictConfig) -> list[float] | None:
        folder = folders.own_folder()
        if folder is not None:
            return sweep.run_job(task, cfg, folder, typed[0], sentence)
        with started_as(typed, full_error=False):  # processes that the job starts see what was typed
            try:
                task(cfg)
            except Exception as error:  # noqa: BLE001 - raised again below, past Hydra's own report of it
                failed.append(error)
        return None

    # Hydra reads its arguments from sys.argv, and prints errors itself unless it is told to raise them.
    sweep.Watch.folder, sweep.Watch.launched = None, []
    try:
        with started_as([typed[0], *prepared], full_error=True):
            hydra.main(config_path=str(conf), config_name=config_name, version_base="1.3")(job)()
    finally:  # a sweep that broke off has its table too
        gathered = sweep.gather(sweep.Watch.folder) if sweep.Watch.folder else None
    if failed:
        raise failed[0]
    if sweep.Watch.folder:
        sweep.check(gathered, sweep.Watch.folder, sweep.Watch.launched)
