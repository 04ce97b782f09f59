"""Statistics of real videos that FID, CLIP-FID and FVD are measured against; shipped beside the detectors'
weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from pos.errors import PosError
from pos.metrics.features import FeatureSet, load_tensors, save_tensors
from pos.metrics.frechet import FeatureStatistics

DETECTORS = ("fid", "clip", "fvd")


@dataclass(frozen=True)
class Reference:
    """Statistics of the real set under each detector whose features are compared as Gaussians.

    Attributes:
        fid, clip, fvd: statistics by detector.
        detectors: fingerprints of the weights they were computed with.
        source: which videos, in words.
    """

    fid: FeatureStatistics
    clip: FeatureStatistics
    fvd: FeatureStatistics
    detectors: dict[str, str]
    source: str

    @classmethod
    def of(cls, features: FeatureSet, source: str) -> Reference:
        statistics = {name: FeatureStatistics.of(features.tensors[name]) for name in DETECTORS}
        return cls(
            **statistics, detectors={name: features.detectors[name] for name in DETECTORS}, source=source
        )

    def save(self, path: Path) -> None:
        tensors = {}
        for name in DETECTORS:
            statistics: FeatureStatistics = getattr(self, name)
            tensors[f"{name}.count"] = torch.tensor(statistics.count)
            tensors[f"{name}.mean"] = statistics.mean
            tensors[f"{name}.scatter"] = statistics.scatter
        save_tensors(path, tensors, {"detectors": self.detectors, "source": self.source})

    @classmethod
    def load(cls, path: Path) -> Reference:
        """
        Raises:
            PosError: the file is absent, cut short or holds no reference statistics.
        """
        tensors, entries = load_tensors(path, ("detectors", "source"))
        statistics = {
            name: FeatureStatistics(
                int(tensors[f"{name}.count"]), tensors[f"{name}.mean"], tensors[f"{name}.scatter"]
            )
            for name in DETECTORS
        }
        return cls(**statistics, **entries)

    def check(self, features: FeatureSet) -> None:
        """
        Raises:
            PosError: the features come from other weights than these statistics.
        """
        other = [name for name in DETECTORS if self.detectors[name] != features.detectors[name]]
        if other:
            raise PosError(
                f"The reference statistics were computed with other weights of {', '.join(other)} than the "
                "features: run experiments/make_reference.py with the present weights."
            )
