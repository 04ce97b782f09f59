"""Where a sweep and its jobs write: every job to a folder of its own, within the sweep's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from pos.config import overrides
from pos.storage import content_hash

if TYPE_CHECKING:
    from omegaconf import DictConfig

_LONGEST_NAME = 230
"""Bytes of a folder's name; most file systems take 255."""

_UNSAFE = re.compile(r"(\.*[/\\\x00-\x1f\x7f])+|^\.+$")
"""What would make several folders of a name, or another one: separators with the dots before them."""

_FILES = {".json", ".jsonl", ".csv", ".txt", ".safetensors"}
"""Endings by which ``out`` names a file; ``out=outputs/eta0.5`` is a folder."""


def job_folder(typed: str) -> str:
    """What was typed as the name of one folder: ``pool.path=../a`` must not put a job outside its sweep.

    What is replaced or cut off for that lives on in a hash, so that different jobs keep different names.
    """
    name = _UNSAFE.sub("_", typed)
    if name == typed and len(name.encode()) <= _LONGEST_NAME:
        return name
    start = name.encode()[: _LONGEST_NAME - 9].decode(errors="ignore")  # a letter may take several bytes
    return f"{start}-{content_hash(typed)[:8]}"


def sweep_folder(out: str | None) -> str:
    """The folder of a sweep, of the command's ``out``: where that is a file, the file without its ending."""
    if not out:
        return "outputs/sweep"
    return str(Path(out).with_suffix("")) if _is_file(out) else out


OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True)


def own_folder() -> Path | None:
    """The folder of this job of a sweep; None outside a sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra_config = HydraConfig.get()
    return Path(hydra_config.runtime.output_dir) if hydra_config.mode == RunMode.MULTIRUN else None


def put_into(folder: Path, cfg: DictConfig) -> None:
    """Point ``out`` and ``export`` of a job into its folder: what jobs write must not be each other's."""
    if "out" in cfg:
        cfg.out = overrides.escape_interpolation(str(_own_out(cfg.out, folder)))
    if "export" in cfg:
        name = Path(cfg.export).name if cfg.export else "weights.safetensors"
        cfg.export = overrides.escape_interpolation(str(folder / name))


def _own_out(out: str | None, folder: Path) -> Path:
    if out is None:  # make_reference.py alone has none, and would replace the file that is shipped
        return folder / "reference.safetensors"
    return folder / Path(out).name if _is_file(out) else folder


def _is_file(out: str) -> bool:
    return Path(out).suffix.lower() in _FILES
