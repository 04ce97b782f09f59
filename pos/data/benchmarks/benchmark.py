"""Benchmarks: the prompts to generate from and the real clips to compare with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import Tensor

from pos.data.prompts import Prompt


class Benchmark(ABC):
    """Prompts, and real clips that generated ones are measured against.

    Attributes:
        name: for tables and provenance.
        prompts: with stable ids, in the order they are scored.
        reference_asset: the shipped statistics of the real clips, a name for ``pos.storage.asset``.
    """

    name: str
    prompts: list[Prompt]
    reference_asset: str

    @abstractmethod
    def references(self, batch_size: int = 64) -> Iterator[tuple[Tensor, list[str]]]:
        """The real clips, uint8 (b, f, 3, h, w), and their captions, in batches."""
