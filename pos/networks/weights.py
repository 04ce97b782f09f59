"""Weights on disk: one safetensors file holds the tensors and, in its metadata, the configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pos.errors import PosError
from pos.storage import write_atomic

_NAMED = 10

Network = TypeVar("Network", bound=nn.Module)


def rebuild(network: type[Network], path: Path | str) -> Network:
    """A network in evaluation mode from a safetensors file whose metadata holds its constructor's arguments.

    Raises:
        PosError: the file is absent, no safetensors file, without configuration, or does not fit it.
    """
    config = read_config(path)
    try:
        module = network(**config)
    except TypeError as error:
        raise PosError(
            f"The configuration inside {path} is not one of {network.__name__}: {error}."
        ) from error
    load_weights(module, path)
    return module.eval().requires_grad_(False)


def save_weights(
    module: nn.Module,
    path: Path | str,
    config: Mapping[str, Any] | None = None,
    *,
    fp16: bool = True,
    record: Mapping[str, str] | None = None,
) -> None:
    """Write a module's state dict atomically.

    Args:
        module: the module; its tensors are copied to the CPU.
        path: the .safetensors file.
        config: what rebuilds the module, JSON-able; stored as the metadata entry ``config``.
        record: more entries of the metadata.
        fp16: store floating-point tensors in half precision (the size on disk halves; they load as float32).

    Raises:
        PosError: a weight is not finite in the stored precision, or the file cannot be written.
    """
    tensors = {name: _stored(name, tensor, fp16) for name, tensor in module.state_dict().items()}
    metadata = {"format": "pt", "config": json.dumps(dict(config or {}), sort_keys=True), **(record or {})}
    write_atomic(Path(path), lambda temporary: save_file(tensors, temporary, metadata=metadata))


def _stored(name: str, tensor: Tensor, fp16: bool) -> Tensor:
    tensor = tensor.detach().to("cpu", copy=True).contiguous()
    if not tensor.is_floating_point():
        return tensor
    stored = tensor.to(torch.float16 if fp16 else torch.float32)
    if not stored.isfinite().all():
        raise PosError(
            f"The weight '{name}' is not finite{' in half precision' if fp16 else ''}: nothing was written."
        )
    return stored


def read_config(path: Path | str) -> dict[str, Any]:
    """The configuration stored beside the tensors; empty when the file has none.

    Raises:
        PosError: the file is absent, is no safetensors file, or its configuration is no JSON.
    """
    text = read_metadata(path).get("config", "{}")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise PosError(f"The configuration inside {path} is not JSON: {error}.") from error


def read_metadata(path: Path | str) -> dict[str, str]:
    """The metadata of a safetensors file; empty when the file has none.

    Raises:
        PosError: the file is absent or is no safetensors file (a pickle goes through convert.py once).
    """
    with _open(Path(path)) as weights:
        return weights.metadata() or {}


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, in the precision of the file.

    Raises:
        PosError: as ``read_metadata``.
    """
    with _open(Path(path)) as weights:
        return {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118 (no mapping)


def read_state(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, floating-point ones as float32.

    Raises:
        PosError: as ``read_metadata``.
    """
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in read_tensors(path).items()
    }


def load_weights(module: nn.Module, path: Path | str) -> None:
    """Fill a module from a safetensors file; every name and every shape must agree.

    Raises:
        PosError: the file is absent, is no safetensors file, or keys are missing, unexpected or of another
            shape (the first ten of each are named).
    """
    state = read_state(path)
    problems = misfit(state, module.state_dict())
    if problems:
        raise PosError(f"The weights in {path} do not fit {type(module).__name__}: {problems}.")
    module.load_state_dict(state)


def misfit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """What keeps tensors from filling ``expected``, the first ten names of each kind; empty when nothing."""
    problems = {
        "missing": [name for name in expected if name not in state],
        "unexpected": [name for name in state if name not in expected],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in state and state[name].shape != tensor.shape
        ],
    }
    return "; ".join(
        f"{len(names)} {kind}: {first_names(names)}" for kind, names in problems.items() if names
    )


def first_names(names: Sequence[str]) -> str:
    """The first ten of many names, for a message."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _open(path: Path) -> safe_open:
    if not path.is_file():
        raise PosError(f"There are no weights at {path}: give the path of a safetensors file.")
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        with path.open("rb") as stream:
            magic = stream.read(2)
        if magic in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"):
            raise PosError(
                f"{path} is a pickle: convert it to safetensors with experiments/convert.py first."
            ) from error
        raise PosError(
            f"{path} is not a readable safetensors file, perhaps a download cut short: {error}."
        ) from error
