"""Reading published checkpoints without running anything that they contain."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pos.errors import PosError
from pos.networks.weights import first_names, read_tensors
from pos.storage import file_digest

# A damaged pickle can make the unpickler raise any of these, so torch.load can, too.
_DAMAGED = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, OSError, RuntimeError, ValueError,
    LookupError, TypeError, AttributeError, AssertionError,
)  # fmt: skip
_ZIP, _PICKLE, _POINTER = b"PK\x03\x04", b"\x80", b"version https://git-lfs"


def read_checkpoint(path: Path | str, inside: Sequence[str] = ("state_dict",)) -> dict[str, Tensor]:
    """The tensors of a checkpoint, in the names and precisions that it has.

    A pickle is read with ``torch.load(weights_only=True)``, which runs nothing, a safetensors file as it is.

    Args:
        path: the file.
        inside: the tensors stand at the top or under one of these; Lightning's is ``state_dict``.

    Raises:
        PosError: the file is absent, cut short, damaged, no checkpoint, or holds other things than tensors.
    """
    path = check_file(path)
    if path.suffix == ".safetensors":
        return read_tensors(path)
    content = _load(path)
    if isinstance(content, dict):
        content = next((content[key] for key in inside if isinstance(content.get(key), dict)), content)
    if not isinstance(content, dict):
        raise PosError(f"{path} holds a {type(content).__name__}, and no tensors by name.")
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others or not content:
        raise PosError(
            f"{path} holds no tensors by name, at the top or under {' or '.join(map(repr, inside))}, "
            f"but {first_names(others) or 'nothing'}."
        )
    return dict(content)


def check_file(path: Path | str) -> Path:
    """The path of a file that is there, whole as far as its first bytes tell.

    Raises:
        PosError: there is no file, it is empty, or it is the pointer that git keeps in place of a large file.
    """
    path = Path(path)
    if not path.is_file():
        raise PosError(f"There is no file at {path}: source takes the path of the published file.")
    start = _start(path)
    if not start:
        raise PosError(f"{path} is empty: download it again.")
    if start.startswith(_POINTER):
        raise PosError(f"{path} is git's pointer to a large file: fetch the file with 'git lfs pull'.")
    return path


def check_published(source: Path | str, sha256: str | None) -> Path:
    """The path of a file that is there and has this sha256; None takes any.

    Raises:
        PosError: as ``check_file``, or it is another file.
    """
    source = check_file(source)
    if sha256 is not None and file_digest(source) != sha256:
        raise PosError(
            f"{source} is not the published file, whose sha256 is {sha256}: download it again, or take it "
            "all the same with weights.sha256=null."
        )
    return source


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(len(_POINTER))


def _load(path: Path) -> Any:
    start = _start(path)
    zipped = start.startswith(_ZIP)
    if not zipped and not start.startswith(_PICKLE):
        raise PosError(f"{path} is not a PyTorch checkpoint: source takes a .ckpt, .pt, .pth or .bin file.")
    try:
        if zipped:
            _check_sums(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except _DAMAGED as error:
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and refused:
            raise PosError(
                f"{path} contains '{refused[1]}', which is no tensor, and was refused; its code was not run."
            ) from error
        raise PosError(
            f"{path} cannot be read, it is cut short, damaged or no PyTorch checkpoint: download it again."
        ) from error


def _check_sums(path: Path) -> None:
    """torch.load never looks at the checksums; a download with a hole in it would pass as weights."""
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise zipfile.BadZipFile
