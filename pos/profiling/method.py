"""What POS costs beside the plain model: with everything cached, and with a clip to invert."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from pos.backbones.base import Backbone
from pos.method import Method
from pos.ona.inversion import Inverter
from pos.pipeline import Pipeline
from pos.profiling.measures import timed
from pos.provenance import Request
from pos.retrieval import Neighbour
from pos.spr.rewriting import Rewrite
from pos.storage import TensorCache

POS = Method(noise="inversion", rewrite=True, eta=0.2, gamma=0.04)  # ModelScope's on MSR-VTT


class Answers:
    """Pool, retriever and rewriter in one, with answers that need no work, as from a warm cache."""

    fingerprint, references = "answers", 5

    def __init__(self, videos: Sequence[Tensor]) -> None:
        self._videos = videos
        self.ids = self.contents = [str(index) for index, _ in enumerate(videos)]
        self.pool = self.encoder = self

    def __len__(self) -> int:
        return len(self._videos)

    def videos(self, indices: Sequence[int], *size: int) -> list[Tensor]:  # noqa: ARG002
        return [self._videos[index] for index in indices]

    def nearest(self, prompts: Sequence[str], k: int) -> list[list[Neighbour]]:
        return [[Neighbour(row, str(row), f"clip {row}", 1.0)] * k for row, _ in enumerate(prompts)]

    def rewrite(self, prompts: Sequence[str], *_: Any) -> list[Rewrite]:
        return [Rewrite(f"{prompt} in detail", True, 1, 1.0, None) for prompt in prompts]


def method_costs(backbone: Backbone, batch: int, steps: int, repeats: int) -> Iterator[dict[str, Any]]:
    """A row for POS with everything cached and one for the inversion, both over the plain model's time."""
    size = backbone.defaults
    generator = torch.Generator().manual_seed(0)
    shape = (batch, size.frames, 3, size.height, size.width)
    videos = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    requests = [Request(f"prompt {row}", 0, str(row)) for row in range(batch)]
    with tempfile.TemporaryDirectory() as folder:

        def made(method: Method) -> float:
            answers = Answers(videos)
            pipeline = Pipeline(
                backbone, method, answers, answers, steps=steps, batch_size=batch, cache_dir=folder
            )
            return timed(lambda: list(pipeline.generate(requests)), backbone.device, repeats)[0]

        plain = made(Method())
        _warm_up(backbone, videos)
        inverter = Inverter(backbone, TensorCache(folder, "inversions"), steps=steps, batch_size=batch)
        inverting, _ = timed(lambda: inverter(list(videos)), backbone.device)
        cached = made(POS)
    for what, seconds in (("pos, everything cached", cached), ("inversion of a clip", inverting)):
        yield {
            "case": "method",
            "subject": backbone.name,
            "what": what,
            "batch": batch,
            "seconds_per_video": round(seconds / batch, 4),
            "plain_seconds_per_video": round(plain / batch, 4),
            "over_plain": round(seconds / plain, 4),
        }


def _warm_up(backbone: Backbone, videos: Tensor) -> None:
    """The first unguided forward of a shape records or compiles it."""
    latents = backbone.encode(videos)
    backbone.predict(latents, backbone.levels(1)[1], backbone.encode_text([""]).repeat(len(videos)))
