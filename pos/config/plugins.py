"""Packages of the user's that are imported before a command does its work."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from pos.errors import PosError


def import_plugins(names: Iterable[str]) -> None:
    """Import modules by name, which register what they add, such as a metric.

    Raises:
        PosError: a module cannot be found. An error within one is raised as it is.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise PosError(
                f"plugins names '{name}', and {error}: install the package, or put its folder on PYTHONPATH."
            ) from error
