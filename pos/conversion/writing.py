"""Writing what a conversion gives: one safetensors file a network, and never over anything else."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from pos.errors import PosError
from pos.networks.weights import read_metadata
from pos.storage import write_atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One network of a checkpoint, as its file will hold it.

    Attributes:
        tensors: the weights, in the precision that they were published in.
        config: what rebuilds the network, JSON-able.
        model: whose weights these are, for instance ``"VideoCrafter vc2_512"``.
    """

    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]
    model: str


def write_parts(parts: Mapping[str, Part], folder: Path, source_digest: str) -> list[Path]:
    """Write every part to ``folder/<name>.safetensors``, atomically.

    The configuration, the model and the source's sha256 go into each file's metadata. A file that already
    holds the same stays as it is.

    Raises:
        PosError: a file of one of the names holds something else (then none is written) or cannot be written.
    """
    files = {folder / f"{name}.safetensors": part for name, part in parts.items()}
    metadata = {path: _metadata(part, source_digest) for path, part in files.items()}
    absent = [path for path in files if not path.exists()]
    for path in files.keys() - set(absent):
        if not _holds(path, files[path], metadata[path]):
            raise PosError(f"{path} holds something else: give another folder with out=DIR, or remove it.")
    for path in absent:
        _write(path, files[path].tensors, metadata[path])
    return list(files)


def _metadata(part: Part, source_digest: str) -> dict[str, str]:
    config = json.dumps(dict(part.config), sort_keys=True)
    return {"format": "pt", "config": config, "model": part.model, "source_sha256": source_digest}


def _holds(path: Path, part: Part, metadata: dict[str, str]) -> bool:
    if read_metadata(path) != metadata:
        return False
    with safe_open(path, framework="pt") as stored:
        names = set(stored.keys())
        return names == set(part.tensors) and all(
            _same(stored.get_tensor(name), part.tensors[name]) for name in names
        )


def _same(stored: Tensor, tensor: Tensor) -> bool:
    return stored.dtype == tensor.dtype and stored.equal(tensor)


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    apart = _apart(tensors)
    write_atomic(path, lambda temporary: save_file(apart, temporary, metadata))
    log.info("%s: %d tensors", path, len(apart))


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor in memory of its own: safetensors stores none that share it."""
    apart, seen = {}, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous()
        storage = tensor.untyped_storage()
        whole = storage.nbytes() == tensor.numel() * tensor.element_size()
        apart[name] = tensor if whole and storage.data_ptr() not in seen else tensor.clone()
        seen.add(storage.data_ptr())
    return apart
