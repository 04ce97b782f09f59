"""The figures of the paper that are no table: what they measure beside it, draw and show."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch

from pos.evaluation.detectors.base import Detectors
from pos.evaluation.reference import Reference
from pos.reporting.html import Curve
from pos.study.study import Study


@dataclass(frozen=True)
class Finding:
    """What a figure found.

    Attributes:
        measured: the numbers, JSON-able.
        notes: what they say, one sentence each.
        drawings: SVGs by name.
        pictures: PNG files by name.
    """

    measured: dict[str, Any]
    notes: list[str]
    drawings: dict[str, Curve] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)


class Figure(ABC):
    """A figure of a study.

    Attributes:
        retrieves: whether it asks the pool, which is then made even where no row needs it.
    """

    retrieves = False

    def check(self, study: Study) -> None:  # noqa: B027 - most figures can be made of any study
        """See, before a video is made, that the study has what the figure needs.

        Raises:
            PosError: it has not.
        """

    @abstractmethod
    def measure(
        self, study: Study, detectors: Detectors, reference: Reference | None, device: torch.device | str
    ) -> Finding:
        """What the figure shows; the videos of all rows are there.

        Raises:
            PosError: something that it needs is not.
        """
