"""Attribute classifiers of the Shapes world: the judge, and the feature networks of FID, FVD and IS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pos.errors import PosError
from pos.networks.shapes.towers import FrameTower, TemporalMixer
from pos.networks.weights import load_weights, read_config, save_weights


class FrameClassifier(nn.Module):
    """Classifies every frame by itself: features (b, f, feature_dim), logits (b, f, classes).

    Args:
        heads: head name to number of classes.
        widths, dim, grid: the frame tower (``FrameTower``).
        feature_dim: penultimate features, at most 64.

    Attributes:
        config: what rebuilds the network (``build_classifier``).
    """

    def __init__(
        self, heads: Mapping[str, int], widths: Sequence[int], dim: int, grid: int, feature_dim: int = 64
    ) -> None:
        super().__init__()
        if not 0 < feature_dim <= 64:
            raise PosError(f"feature_dim is {feature_dim}: it must lie in 1..64, more bias the distances.")
        self.config: dict[str, Any] = {
            "kind": "frame",
            "heads": dict(heads),
            "widths": list(widths),
            "dim": dim,
            "grid": grid,
            "feature_dim": feature_dim,
        }
        self.tower = FrameTower(widths, dim, grid)
        self.penultimate = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, feature_dim), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(feature_dim, classes) for name, classes in heads.items()})

    def features(self, videos: Tensor) -> Tensor:
        """uint8 (b, f, 3, h, w) to the penultimate features of every frame (b, f, feature_dim)."""
        return self.penultimate(self.tower(videos))

    def classify(self, features: Tensor) -> dict[str, Tensor]:
        """Features (..., feature_dim) to logits (..., classes) of every head."""
        return {name: head(features) for name, head in self.heads.items()}

    def forward(self, videos: Tensor) -> dict[str, Tensor]:
        """uint8 (b, f, 3, h, w) to the logits of every head."""
        return self.classify(self.features(videos))


class VideoClassifier(FrameClassifier):
    """Classifies whole videos: features (b, feature_dim), logits (b, classes).

    Args:
        heads, widths, dim, grid, feature_dim: as ``FrameClassifier``.
        layers, neighbours: the mixer over frames (``TemporalMixer``).
    """

    def __init__(
        self,
        heads: Mapping[str, int],
        widths: Sequence[int],
        dim: int,
        grid: int,
        layers: int,
        feature_dim: int = 64,
        neighbours: bool = False,
    ) -> None:
        super().__init__(heads, widths, dim, grid, feature_dim)
        self.config |= {"kind": "video", "layers": layers, "neighbours": neighbours}
        self.mixer = TemporalMixer(dim, layers, neighbours=neighbours)

    def features(self, videos: Tensor) -> Tensor:
        """uint8 (b, f, 3, h, w) to the penultimate features of every video (b, feature_dim)."""
        return self.penultimate(self.mixer(self.tower(videos)))


_KINDS: dict[str, type[FrameClassifier]] = {"frame": FrameClassifier, "video": VideoClassifier}


def build_classifier(config: Mapping[str, Any]) -> FrameClassifier:
    """A new classifier from ``config``: ``kind`` ("frame" or "video") and its arguments.

    Raises:
        PosError: an unknown kind, or arguments that kind does not take.
    """
    settings = dict(config)
    kind = settings.pop("kind", None)
    if kind not in _KINDS:
        raise PosError(f"The classifier kind is {kind!r}: it must be one of {', '.join(_KINDS)}.")
    try:
        return _KINDS[kind](**settings)
    except TypeError as error:
        raise PosError(f"The {kind} classifier's configuration is wrong: {error}.") from error


def save_classifier(classifier: FrameClassifier, path: Path | str) -> None:
    """Write the weights (fp16) and the configuration."""
    save_weights(classifier, path, classifier.config)


def load_classifier(path: Path | str) -> FrameClassifier:
    """A classifier in evaluation mode from a safetensors file whose metadata holds its configuration.

    Raises:
        PosError: the file is absent, no safetensors file, without configuration, or does not fit it.
    """
    classifier = build_classifier(read_config(path))
    load_weights(classifier, path)
    return classifier.eval().requires_grad_(False)
