"""The detectors of the Shapes benchmark, all trained by this project."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from pos.data.shapes.world import ATTRIBUTES
from pos.evaluation.detectors.base import Detector, Detectors, TextDetector
from pos.networks.shapes.classifiers import FrameClassifier, load_classifier
from pos.networks.shapes.clip import ShapesCLIP, load_clip
from pos.networks.shapes.tokenizer import load_tokenizer
from pos.storage import asset

SIZE = (64, 64)


class ShapesFeatures(Detector):
    """Penultimate features of a classifier of frames (b, k, d) or of videos (b, d)."""

    network: FrameClassifier

    def prepare(self, frames: Tensor) -> Tensor:
        return frames

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network.features(inputs)


class ShapesClasses(ShapesFeatures):
    """Probabilities (b, classes) of the single head ``class`` (shape x motion) of a classifier of videos."""

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs)["class"].softmax(-1)


class ShapesText(TextDetector):
    """The scoring CLIP, trained apart from the one that conditions the video model.

    Args:
        network: embeds frames.
        tokenizer: prompts longer than the context are truncated.
    """

    network: ShapesCLIP

    def __init__(self, network: ShapesCLIP, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__(network)
        self.tokenizer = tokenizer

    def prepare(self, frames: Tensor) -> Tensor:
        return frames

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network.project(self.network.tower(inputs))

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        context = self.network.text.config.max_position_embeddings
        tokens = self.tokenizer(
            list(prompts), padding=True, truncation=True, max_length=context, return_tensors="pt"
        ).to(self.device)
        return self.network.encode_text(tokens["input_ids"], tokens["attention_mask"]).cpu()


class Judge(Detector):
    """The attributes that a video shows: int64 (b, 6) in the order of ``ATTRIBUTES``."""

    def prepare(self, frames: Tensor) -> Tensor:
        return frames

    def forward(self, inputs: Tensor) -> Tensor:
        logits = self.network(inputs)
        return torch.stack([logits[name].argmax(-1) for name in ATTRIBUTES], dim=1)


def of_networks(
    fid: FrameClassifier,
    fvd: FrameClassifier,
    inception: FrameClassifier,
    clip: ShapesCLIP,
    tokenizer: PreTrainedTokenizerFast,
    judge: FrameClassifier,
    extra: Collection[str] = (),
) -> Detectors:
    """Detectors of videos of 16 frames of 64x64.

    Args:
        fid: a frame network.
        fvd: a video network.
        inception: a video network with the single head ``class``.
        clip: embeds frames and texts.
        tokenizer: of the CLIP.
        judge: a video network with a head for each attribute; shares no weights with the others.
        extra: as ``Detectors``.
    """
    return Detectors(
        fid=ShapesFeatures(fid),
        clip=ShapesText(clip, tokenizer),
        fvd=ShapesFeatures(fvd),
        inception=ShapesClasses(inception),
        judge=Judge(judge),
        size=SIZE,
        extra=extra,
    )


def shapes_detectors(extra: Collection[str] = ()) -> Detectors:
    """The detectors shipped with the package, on the CPU; ``extra`` as ``Detectors`` takes it."""
    networks = {
        name: load_classifier(asset(f"shapes/{file}.safetensors"))
        for name, file in {"fid": "fid", "fvd": "fvd", "inception": "is", "judge": "judge"}.items()
    }
    tokenizer = load_tokenizer(asset("shapes/tokenizer.json"))
    return of_networks(
        clip=load_clip(asset("shapes/clip_score.safetensors")), tokenizer=tokenizer, extra=extra, **networks
    )
