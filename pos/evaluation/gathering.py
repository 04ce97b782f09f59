"""Statistics of real videos, gathered while they are read, and for KID the features of some frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from pos.evaluation.reference import pack, unpack
from pos.metrics.frechet import FeatureStatistics
from pos.metrics.registry import get_metric

IMAGES_OF = 2000  # videos whose FID features are kept for KID: of five frames each, 82 MB


def needs_images(extra: Collection[str]) -> bool:
    """Whether one of these metrics reads the features of real frames, as KID does."""
    return any(get_metric(name).reference == "images" for name in extra)


class Gathered:
    """Statistics of the real videos read so far.

    Args:
        known: ``tensors`` of a run that was stopped; empty at the start.
        keep_images: whether FID features are kept too, of at most ``IMAGES_OF`` videos: a random sample that
            depends on the order of the videos alone.

    Attributes:
        statistics: by detector.
        read: how many videos.
    """

    def __init__(self, known: Mapping[str, Tensor], keep_images: bool) -> None:
        self.statistics = unpack(known)
        self.read = int(known.get("read", 0))
        self._kept = (known["images"], known["ranks"]) if "images" in known else None
        self._keep_images = keep_images

    def add(self, rows: Mapping[str, Tensor]) -> None:
        """Features of further videos by detector, (n, ...) each (``Detectors.compared``)."""
        for name, features in rows.items():
            new, old = FeatureStatistics.of(features), self.statistics.get(name)
            self.statistics[name] = new if old is None else old + new
        if self._keep_images and "fid" in rows:
            self._thin(rows["fid"])
        self.read += len(next(iter(rows.values())))

    @property
    def images(self) -> Tensor | None:
        """The features that were kept (m, d); None where none were requested."""
        return None if self._kept is None else self._kept[0].flatten(0, 1)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The whole state, as tensors for a file."""
        kept = {} if self._kept is None else dict(zip(("images", "ranks"), self._kept, strict=True))
        return {**pack(self.statistics), **kept, "read": torch.tensor(self.read)}

    def _thin(self, features: Tensor) -> None:
        """Keep the videos with the smallest random numbers; each video's depends on its place alone."""
        ranks = torch.cat(
            [
                torch.rand(1, generator=torch.Generator().manual_seed(self.read + place))
                for place in range(len(features))
            ]
        )
        if self._kept is not None:
            features, ranks = torch.cat([self._kept[0], features]), torch.cat([self._kept[1], ranks])
        chosen = ranks.argsort(stable=True)[:IMAGES_OF].sort().values
        self._kept = (features[chosen], ranks[chosen])
