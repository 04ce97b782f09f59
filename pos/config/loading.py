"""The configuration of any command as a Python object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from pos.config.building import build_pipeline
from pos.config.explain import explain
from pos.config.overrides import prepare
from pos.errors import PosError
from pos.pipeline import Pipeline

CONF = Path(__file__).resolve().parents[2] / "conf"


def load_pipeline(*overrides: str) -> Pipeline:
    """The pipeline that ``experiments/generate.py`` would run with these arguments, e.g. ``"method=pos"``.

    Raises:
        PosError: as ``load_config`` and ``build_pipeline``.
    """
    config = load_config("generate", *overrides)
    with _in_one_sentence("generate", overrides):
        return build_pipeline(config)


def load_config(command: str, *overrides: str) -> DictConfig:
    """The configuration that ``experiments/COMMAND.py`` would run with these arguments.

    Raises:
        PosError: an unknown key or choice, or the configurations are absent: a clone of the repository has
            them, an installed package not.
    """
    if not CONF.is_dir():
        raise PosError(f"The folder {CONF} is absent: install POS from a clone (pip install -e .).")
    with _in_one_sentence(command, overrides), initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(command, prepare(overrides))


@contextmanager
def _in_one_sentence(command: str, overrides: Sequence[str]) -> Iterator[None]:
    """What the command line says of a mistake, as a ``PosError``."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        sentence = explain(error, CONF, command, overrides)
        if sentence is None:
            raise
        raise PosError(sentence) from error
