"""Recordings of original implementations: a JSON says what was run, a safetensors has the numbers."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

FORWARD, SAMPLING = 1e-5, 1e-4  # relative L2, as the recordings' README suggests


@dataclass
class Recording:
    """One JSON file and the tensors beside it."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @cached_property
    def info(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.path.with_suffix(".safetensors"))

    @property
    def classes(self) -> list[str]:
        """What the recording was made with, as its ``class`` or ``classes`` entry says."""
        return self.info.get("classes") or [self.info[key] for key in ("class", "net") if key in self.info]


@dataclass
class Case:
    """One comparison with a recording; ``slow`` ones take more than a few seconds."""

    name: str
    check: Callable[[], None]
    slow: bool = False


def recordings(kind: str) -> list[Recording]:
    """The recordings of ``$POS_GOLDEN/<kind>``, or of the folder ``<kind>`` beside this file."""
    root = Path(os.environ.get("POS_GOLDEN") or Path(__file__).parent)
    return [Recording(path) for path in sorted((root / kind).glob("*.json"))]


def fill(module: nn.Module) -> nn.Module:
    """Fill a network by the recordings' rule: every entry is drawn from a generator seeded with its name."""
    state = module.state_dict()
    for name, entry in state.items():
        if entry.is_floating_point():
            entry.copy_(filled(name, entry.shape))
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)


def filled(name: str, shape: torch.Size) -> Tensor:
    """The entry of that name and shape in the original."""
    value = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if len(shape) > 1:
        return value / math.sqrt(math.prod(shape[1:]))
    return 0.1 * value if name.endswith("bias") else 1 + 0.1 * value


def drawn(seed: int, like: Tensor) -> Tensor:
    """An input of a recording, from its seed."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


def assert_close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """The relative L2 error of ``actual`` is at most ``tolerance``."""
    assert actual.shape == expected.shape
    error = float((actual.double() - expected.double()).norm() / expected.double().norm())
    assert error <= tolerance, f"relative error {error:.2e}, allowed {tolerance:.0e}"
