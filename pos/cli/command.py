"""``@command("generate")`` makes an entry point of a function that takes a configuration."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pos.cli.help import help_text
from pos.cli.process import FULL_ERROR, set_up_logging, started_as
from pos.config import overrides
from pos.config.explain import Command, check_added, explain
from pos.config.folder import ConfigFolders, config_folder
from pos.config.plugins import import_plugins

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pos.cli import sweep

Task = Callable[["DictConfig"], "sweep.Values | None"]
"""What a command does: the values that it returns stand in the table of a sweep."""

# Hydra makes no folders and no logs of its own: a job writes to its key `out`, a job of a sweep to a folder
# in it that is named by what was typed, but for texts, paths and what changes no result.
_LOGGER = {"logger", *(f"logger.{key}" for key in ("mode", "project", "entity", "group", "tags"))}
_UNNAMED = sorted(overrides.SENTENCES | overrides.LITERALS | _LOGGER | {"objectives", "plugins"})
_SETTINGS = (
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
    "hydra.sweep.dir='${sweep_folder:${oc.select:out,null}}'",
    "hydra.sweep.subdir='${job_folder:${hydra.job.override_dirname}}'",
    f"hydra.job.config.override_dirname.exclude_keys=[{','.join(_UNNAMED)}]",
    "+hydra.callbacks.watch._target_=pos.cli.sweep.Watch",
)


def command(config_name: str, conf: Path | None = None) -> Callable[[Task], Callable[..., None]]:
    """Run a function as a command with the configuration ``<config_name>.yaml``.

    The process exits with 0; with 2 and one sentence on stderr for bad input; with 130 after Ctrl-C.
    ``POS_DEBUG=1`` (or ``HYDRA_FULL_ERROR=1``) shows the traceback too. Any other exception is a bug and
    keeps its traceback.

    Args:
        config_name: of the primary configuration.
        conf: the folder that it lies in; None takes that of POS.
    """

    def decorate(task: Task) -> Callable[..., None]:
        @functools.wraps(task)
        def main(words: int = 1) -> None:
            """``words``: how many of ``sys.argv`` name the command, two in ``pos generate key=value``."""
            script, arguments = sys.argv[:words], sys.argv[words:]
            folders = ConfigFolders.of(conf or config_folder(), arguments)
            status = _run(task, Command(config_name, arguments, folders), script)
            if status:
                sys.exit(status)

        return main

    return decorate


def _run(task: Task, typed: Command, script: Sequence[str]) -> int:
    if {"-h", "--help"} & set(typed.arguments):
        sys.stdout.write(help_text(typed.folders, typed.name))
        return 0
    from tqdm.contrib.logging import logging_redirect_tqdm

    debug = "1" in (os.environ.get("POS_DEBUG"), os.environ.get(FULL_ERROR))
    set_up_logging()
    try:
        check_added(typed)
        with logging_redirect_tqdm():
            _run_hydra(task, typed, script)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what is finished stays, and the same command goes on from there\n")
        return 130
    except Exception as error:
        sentence = explain(error, typed)
        if sentence is None:
            raise
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"error: {sentence}\n")
        return 2
    return 0


def _run_hydra(task: Task, typed: Command, script: Sequence[str]) -> None:
    import hydra

    from pos.cli import folders, sweep

    settings = [f"hydra.job.name={typed.name}", *_SETTINGS, *sweep.settings(typed.arguments)]
    failed: list[Exception] = []

    def work(cfg: DictConfig) -> sweep.Values | None:
        import_plugins(cfg.get("plugins") or [])
        return task(cfg)

    @functools.wraps(task)
    def job(cfg: DictConfig) -> list[float] | None:
        folder = folders.own_folder()
        if folder is not None:
            return sweep.run_job(work, cfg, folder, script, functools.partial(explain, command=typed))
        with started_as([*script, *typed.arguments], full_error=False):  # processes that the job starts
            try:
                work(cfg)
            except Exception as error:  # noqa: BLE001 - raised again below, past Hydra's own report of it
                failed.append(error)
        return None

    run = hydra.main(config_path=str(typed.folders.main), config_name=typed.name, version_base="1.3")(job)
    with sweep.gathered():
        # Hydra takes its arguments from sys.argv alone, and prints errors unless it is to raise them.
        with started_as([*script[:1], *overrides.prepare(typed.arguments, settings)], full_error=True):
            run()
        if failed:
            raise failed[0]
