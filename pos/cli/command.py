"""``@command("generate")`` makes an entry point of a function that takes a configuration."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.contrib.logging import logging_redirect_tqdm

from pos.cli import overrides
from pos.cli.explain import check_added, explain
from pos.cli.help import help_text

if TYPE_CHECKING:
    from omegaconf import DictConfig

Task = Callable[["DictConfig"], None]

# Hydra makes no folders and no logs of its own: a job writes to its key `out`, a job of a sweep to a folder
# in it that is named by what was typed, but for texts and paths.
_UNNAMED = sorted(overrides.SENTENCES | overrides.LITERALS - {"seeds"})
_QUIET = (
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
    "hydra.sweep.dir=${oc.select:out,outputs/sweep}",
    "hydra.sweep.subdir=${hydra.job.override_dirname}",
    f"hydra.job.config.override_dirname.exclude_keys=[{','.join(_UNNAMED)}]",
)
_FULL_ERROR = "HYDRA_FULL_ERROR"


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
    debug = "1" in (os.environ.get("POS_DEBUG"), os.environ.get(_FULL_ERROR))
    _set_up_logging()
    try:
        check_added(conf, config_name, arguments)
        with logging_redirect_tqdm():
            _run_hydra(task, conf, config_name, overrides.prepare(arguments, _QUIET))
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

    typed, failed = [*sys.argv], []

    @functools.wraps(task)
    def job(cfg: DictConfig) -> None:
        with _process(typed, full_error=False):  # processes that the job starts see what was typed
            folder = _own_folder()
            if folder is not None:
                if "out" in cfg:
                    cfg.out = overrides.escape_interpolation(folder)
                task(cfg)  # an error goes through Hydra, which says of which job it is
                return
            try:
                task(cfg)
            except Exception as error:  # noqa: BLE001 - raised again below, past Hydra's own report of it
                failed.append(error)

    # Hydra reads its arguments from sys.argv, and prints errors itself unless it is told to raise them.
    with _process([typed[0], *arguments], full_error=True):
        hydra.main(config_path=str(conf), config_name=config_name, version_base="1.3")(job)()
    if failed:
        raise failed[0]


@contextlib.contextmanager
def _process(arguments: list[str], *, full_error: bool) -> Iterator[None]:
    """This process as it looks with other arguments and with or without Hydra raising its errors."""
    argv, environment = sys.argv, os.environ.get(_FULL_ERROR)
    sys.argv = arguments
    os.environ[_FULL_ERROR] = "1" if full_error else ""
    try:
        yield
    finally:
        sys.argv = argv
        os.environ.pop(_FULL_ERROR, None)
        if environment is not None:
            os.environ[_FULL_ERROR] = environment


def _own_folder() -> str | None:
    """The folder of this job of a sweep; None outside a sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra_config = HydraConfig.get()
    return hydra_config.runtime.output_dir if hydra_config.mode == RunMode.MULTIRUN else None


def _set_up_logging() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for name in ("pos", "hydra"):
        logging.getLogger(name).setLevel(logging.INFO)
