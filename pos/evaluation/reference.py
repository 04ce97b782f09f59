"""Statistics of real videos that FID, CLIP-FID and FVD are measured against, and their file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pos.errors import PosError
from pos.evaluation.features import FeatureSet, load_tensors, save_tensors
from pos.metrics.frechet import FeatureStatistics

DETECTORS = ("fid", "clip", "fvd", "videomae")
_REMEDY = "run experiments/make_reference.py with the present weights."


@dataclass(frozen=True)
class Reference:
    """Statistics of the real set under the detectors whose features are compared as Gaussians.

    Attributes:
        statistics: by detector, all of ``fid``, ``clip``, ``fvd`` and ``videomae`` or some.
        detectors: fingerprints of the weights they were computed with.
        source: which videos, in words.
        record: of files, JSON-able: ``coverage``, how many were read of how many; ``found``, how many had
            which fault; ``faults``, the policy for those; ``images`` and ``clip``, the frames; and where a
            manifest names them ``benchmark`` and ``manifest``, its name and hash.
        images: features (m, d) of ``fid`` of the frames of some videos, drawn, which KID needs; None where
            they were not requested.
    """

    statistics: dict[str, FeatureStatistics]
    detectors: dict[str, str]
    source: str
    record: dict[str, Any] = field(default_factory=dict)
    images: Tensor | None = None

    @classmethod
    def of(cls, features: FeatureSet, source: str) -> Reference:
        """The statistics of a set of features."""
        statistics = {
            name: FeatureStatistics.of(features.tensors[name])
            for name in DETECTORS
            if name in features.tensors
        }
        return cls.gathered(statistics, features.detectors, source)

    @classmethod
    def gathered(
        cls,
        statistics: dict[str, FeatureStatistics],
        detectors: Mapping[str, str],
        source: str,
        record: Mapping[str, Any] | None = None,
        images: Tensor | None = None,
    ) -> Reference:
        """Statistics with the fingerprints of their detectors alone."""
        fingerprints = {name: detectors[name] for name in statistics}
        return cls(statistics, fingerprints, source, dict(record or {}), images)

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        entries = {"detectors": self.detectors, "source": self.source, "record": self.record}
        images = {} if self.images is None else {"images": self.images}
        save_tensors(path, pack(self.statistics) | images, entries)

    @classmethod
    def load(cls, path: Path) -> Reference:
        """
        Raises:
            PosError: the file is missing, cut short or holds no reference statistics.
        """
        if not Path(path).is_file():
            raise PosError(
                f"There is no file {path}: reference=FILE takes what experiments/make_reference.py wrote."
            )
        tensors, entries = load_tensors(path, ("detectors", "source"), {"record": {}})
        return cls(unpack(tensors), **entries, images=tensors.get("images"))

    @property
    def notes(self) -> list[str]:
        """What a reader must know about the real videos: sentences."""
        found = [
            f"{count:,} {fault} ({self.record['faults'][fault]})"
            for fault, count in self.record.get("found", {}).items()
        ]
        return [f"Real videos: {self.source}; {', '.join(found)}."] if found else []

    def unfit(self, detectors: Mapping[str, str]) -> dict[str, str]:
        """Why features of detectors cannot be compared with this reference, one sentence, by detector."""
        reasons = {}
        for name in detectors:
            if name not in DETECTORS:
                reasons[name] = f"References hold statistics of {', '.join(DETECTORS)} alone, not of {name}."
            elif name not in self.statistics:
                reasons[name] = f"The reference ({self.source}) holds no statistics of {name}: {_REMEDY}"
            elif self.detectors[name] != detectors[name]:
                reasons[name] = (
                    f"The reference statistics ({self.source}) were computed with other weights of {name} "
                    f"than the features: {_REMEDY}"
                )
        return reasons


def pack(statistics: Mapping[str, FeatureStatistics]) -> dict[str, Tensor]:
    """Statistics by detector as tensors for a file."""
    tensors = {}
    for name, found in statistics.items():
        spread = ("scatter", found.scatter) if found.factor is None else ("factor", found.factor)
        parts = {"count": torch.tensor(found.count), "mean": found.mean, spread[0]: spread[1]}
        tensors |= {f"{name}.{part}": tensor for part, tensor in parts.items()}
    return tensors


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, FeatureStatistics]:
    """The reverse of ``pack``."""
    return {name: _unpacked(name, tensors) for name in DETECTORS if f"{name}.count" in tensors}


def _unpacked(name: str, tensors: Mapping[str, Tensor]) -> FeatureStatistics:
    factor = tensors.get(f"{name}.factor")
    scatter = tensors[f"{name}.scatter"] if factor is None else factor.T @ factor
    return FeatureStatistics(int(tensors[f"{name}.count"]), tensors[f"{name}.mean"], scatter, factor)
