"""The contract of a study's figure: what it measures, draws and says beside the table."""

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
    """The result of a figure.

    Attributes:
        measured: the numbers, JSON-able.
        notes: on the numbers, one sentence each.
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
        retrieves: whether it needs the pool, which is then built even where no row needs it.
    """

    retrieves = False

    def check(self, study: Study) -> None:  # noqa: B027 - most figures need nothing
        """Check, before a video is generated, that the study has what the figure needs.

        Raises:
            PosError: something is missing.
        """

    @abstractmethod
    def measure(
        self, study: Study, detectors: Detectors, reference: Reference | None, device: torch.device | str
    ) -> Finding:
        """Measure and draw the figure of a study that has all its videos.

        Raises:
            PosError: something that the figure needs is missing.
        """
