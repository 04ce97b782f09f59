"""Training of the judge and of the feature networks of FID, FVD and IS on rendered clips."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor

from pos.data.shapes.world import ATTRIBUTES
from pos.errors import PosError
from pos.networks.shapes.classifiers import FrameClassifier, VideoClassifier, save_classifier
from pos.training.data import sample_frames
from pos.training.task import Optimization, Task

_COLUMNS = {name: column for column, name in enumerate(ATTRIBUTES)}
_CLASSES = {name: len(values) for name, values in ATTRIBUTES.items()}
_CLASSES["class"] = _CLASSES["shape"] * _CLASSES["motion"]  # the classes of the Inception Score's network


def target(head: str, attributes: Tensor) -> Tensor:
    """The label of a head, int64 (b,), from attributes (b, 6): an attribute, or "class", shape x motion."""
    if head == "class":
        return attributes[:, _COLUMNS["shape"]] * _CLASSES["motion"] + attributes[:, _COLUMNS["motion"]]
    return attributes[:, _COLUMNS[head]]


def degrade(videos: Tensor, noise: float, blur: float, generator: torch.Generator) -> Tensor:
    """Light damage, so that a network trained on clean renderings behaves on generated clips.

    Each clip has its own strengths, the square of a uniform draw: mostly little.

    Args:
        videos: uint8 (b, f, c, h, w).
        noise: largest standard deviation of Gaussian noise, in grey levels.
        blur: largest weight (0..1) of the mean of 3x3 pixels.
        generator: on the videos' device.
    """
    strengths = torch.rand(2, len(videos), 1, 1, 1, 1, generator=generator, device=videos.device).square()
    pixels = videos.float()
    mean = functional.avg_pool2d(pixels.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(pixels)
    pixels = pixels.lerp(mean, blur * strengths[0])
    grain = torch.randn(pixels.shape, generator=generator, device=videos.device)
    return (pixels + noise * strengths[1] * grain).round().clamp(0, 255).to(torch.uint8)


class ClassifierTask(Task):
    """Cross-entropy of every head; validation reports the accuracy of every head.

    Args:
        network: a frame or a video classifier.
        optimization: optimiser and schedule.
        seed: of frames and degradations.
        frames: frames of each clip that a frame classifier sees in a step; not for a video classifier.
        noise, blur: see ``degrade``.

    Raises:
        PosError: a head that Shapes does not label, or with another number of classes.
    """

    def __init__(
        self,
        network: FrameClassifier,
        optimization: Optimization,
        seed: int,
        frames: int | None = None,
        noise: float = 12.0,
        blur: float = 0.8,
    ) -> None:
        super().__init__(network, optimization)
        wrong = {name: n for name, n in network.config["heads"].items() if _CLASSES.get(name) != n}
        if wrong:
            raise PosError(f"The heads {wrong} are not among those of Shapes: {_CLASSES}.")
        if (frames is None) != isinstance(network, VideoClassifier):
            raise PosError("frames is for a frame classifier only: a video classifier sees whole clips.")
        self.seed, self.frames, self.noise, self.blur = seed, frames, noise, blur

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002
        generator = self.generator(self.seed)
        videos = batch["videos"]
        if self.frames is not None:
            videos = sample_frames(videos, self.frames, generator)
        logits = self.network(degrade(videos, self.noise, self.blur, generator))
        labels = {head: _labels(head, output, batch["attributes"]) for head, output in logits.items()}
        loss = sum(
            functional.cross_entropy(logits[head].flatten(0, -2), labels[head].flatten()) for head in logits
        )
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:  # noqa: ARG002
        for head, logits in self.network(batch["videos"]).items():
            hits = logits.argmax(-1) == _labels(head, logits, batch["attributes"])
            self.log(f"accuracy {head}", hits.float().mean(), batch_size=len(hits))

    def export(self, path: Path) -> None:
        save_classifier(self.network, path)


def _labels(head: str, logits: Tensor, attributes: Tensor) -> Tensor:
    """Labels in the shape of the logits without classes: (b,), or (b, f) where every frame has the clip's."""
    labels = target(head, attributes)
    return labels if logits.ndim == 2 else labels[:, None].expand(logits.shape[:2])
