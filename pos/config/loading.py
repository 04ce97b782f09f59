"""The configuration of any command as a Python object."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from pos.config.building import build_pipeline
from pos.config.explain import Command, explain
from pos.config.folder import ConfigFolders, config_folder
from pos.config.overrides import prepare
from pos.errors import PosError
from pos.pipeline import Pipeline


def load_pipeline(*overrides: str) -> Pipeline:
    """The pipeline that ``pos generate`` would run with these arguments, e.g. ``"method=pos"``.

    Raises:
        PosError: as ``load_config`` and ``build_pipeline``.
    """
    config = load_config("generate", *overrides)
    with _in_one_sentence(_command("generate", overrides)):
        return build_pipeline(config)


def load_config(command: str, *overrides: str) -> DictConfig:
    """The configuration that ``pos COMMAND`` would run with these arguments.

    Raises:
        PosError: an unknown key or choice.
    """
    typed = _command(command, overrides)
    with (
        _in_one_sentence(typed),
        initialize_config_dir(str(typed.folders.main), version_base="1.3"),
    ):
        return compose(command, prepare(overrides))


def _command(name: str, overrides: tuple[str, ...]) -> Command:
    return Command(name, overrides, ConfigFolders(config_folder()))


@contextmanager
def _in_one_sentence(command: Command) -> Iterator[None]:
    """What the command line says of a mistake, as a ``PosError``."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        sentence = explain(error, command)
        if sentence is None:
            raise
        raise PosError(sentence) from error
