"""Where the configuration lies."""

from __future__ import annotations

from pathlib import Path


def config_folder() -> Path:
    """The folder ``conf``: in the package where POS is installed from a wheel, beside it in a clone.

    An editable installation is a clone.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
