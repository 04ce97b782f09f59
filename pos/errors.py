"""The one exception a user is meant to read, and the import of optional packages."""

from __future__ import annotations

import importlib
from types import ModuleType


class PosError(Exception):
    """Bad input or an absent file. The message is one clear sentence: the value and what is allowed.

    The command line prints it without a traceback and exits with status 2.
    """


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency where it is used.

    Args:
        module: the import name, for instance ``"av"``.
        extra: the extra of this package that installs it, for instance ``"video"``.

    Raises:
        PosError: the package is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise PosError(
            f"The package '{error.name}' is needed here: install it with pip install 'pos-t2v[{extra}]'."
        ) from error
