"""Where the configuration lies, and a user's own folder beside it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore


def config_folder() -> Path:
    """The folder ``conf``: in the package where POS is installed from a wheel, beside it in a clone.

    An editable installation is a clone.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


@dataclass(frozen=True)
class ConfigFolders:
    """The folders that a command composes its configuration from.

    Args:
        main: holds the primary configurations and the groups. Where both have a file, this one counts.
        own: a user's own choices, of Hydra's ``--config-dir``.
    """

    main: Path
    own: Path | None = None

    @classmethod
    def of(cls, main: Path, arguments: Sequence[str]) -> ConfigFolders:
        """``main`` and the folder that ``--config-dir DIR``, ``--config-dir=DIR`` or ``-cd DIR`` names."""
        pairs = [text.split("=", 1) for text in arguments if text.startswith(("--config-dir=", "-cd="))]
        pairs += itertools.pairwise(arguments)
        own = [folder for flag, folder in pairs if flag in ("--config-dir", "-cd")]
        return cls(main, Path(own[-1]).absolute() if own else None)

    @property
    def all(self) -> list[Path]:
        return [self.main] if self.own is None else [self.main, self.own]

    def file(self, name: str) -> Path | None:
        """The file ``NAME.yaml`` that counts; None where there is none."""
        paths = (folder / f"{name}.yaml" for folder in self.all)
        return next((path for path in paths if path.is_file()), None)

    def lines(self, name: str) -> list[str]:
        """The lines of ``NAME.yaml``; none where there is no such file."""
        path = self.file(name)
        return path.read_text(encoding="utf-8").splitlines() if path else []

    def is_group(self, name: str) -> bool:
        return any((folder / name).is_dir() for folder in self.all)

    def groups(self) -> list[str]:
        """All groups; one within another as ``outer/inner``."""
        found = {(folder, path) for folder in self.all for path in folder.rglob("*") if path.is_dir()}
        return sorted({path.relative_to(folder).as_posix() for folder, path in found})

    def options(self, group: str) -> list[str]:
        """The choices of a group; of one that holds only folders, ``folder/choice`` of each."""
        folders = [folder / group for folder in self.all]
        found = {path.stem for folder in folders for path in folder.glob("*.yaml")}
        with contextlib.suppress(OSError):  # the published settings are no files
            found |= {name.removesuffix(".yaml") for name in ConfigStore.instance().list(group)}
        nested = [(folder, path) for folder in folders for path in folder.rglob("*.yaml")]
        return sorted(
            found or {path.relative_to(folder).with_suffix("").as_posix() for folder, path in nested}
        )
