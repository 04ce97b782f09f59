"""Who sees what: the training stream, the pool, the references, validation and test prompts of Shapes.

Scenes of different splits come from disjoint ranges of seeds. Texts are parted by a hash: one in eight is
held out, half of those for the test and half for validation. Captions for training, pool and rewriter are
drawn again until they are not held out, so no test prompt stands in anything that a network was trained on.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from pos.data.prompts import Prompt
from pos.data.shapes.captions import caption
from pos.data.shapes.lexicon import named_attributes, words
from pos.data.shapes.world import Scenes, draw_scenes, mix64
from pos.errors import PosError

POOL_SIZE, REFERENCES, VALIDATION_PROMPTS, TEST_PROMPTS = 2000, 2048, 2048, 2048
TRAINING_DETAILS = (0, 1, 1, 2, 2, 2, 3, 3, 3, 3)  # of the captions beside clips: mostly full sentences
_BUCKETS = {0: "test", 1: "validation"}  # of 16
_REGIONS = {
    "pool": 1,
    "reference": 2,
    "validation": 3,
    "test": 4,
    "train": 5,
}  # the top byte of a scene's seed


@dataclass(frozen=True, eq=False)
class Clip:
    """A captioned clip: a stable id such as ``pool-00017``, the caption, and the scene (a batch of one)."""

    id: str
    caption: str
    scene: Scenes


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """n scenes of the training stream and their captions."""

    scenes: Scenes
    captions: list[str]

    def __len__(self) -> int:
        return len(self.captions)


def bucket(text: str) -> str | None:
    """The split a text is held out for, "test" or "validation", or None. Case and punctuation are free."""
    digest = hashlib.blake2b(_normalised(text).encode(), digest_size=8).digest()
    return _BUCKETS.get(digest[0] % 16)


def held_out(text: str) -> bool:
    """Whether a text is kept for prompts, so that nothing may be trained on it."""
    return bucket(text) is not None


def training_caption(attributes: Sequence[int], detail: int, rng: random.Random) -> str:
    """A caption (see ``captions.caption``) that is not held out."""
    while True:
        text = caption(attributes, detail, rng)
        if not held_out(text):
            return text


def training_batch(seed: int, index: int, n: int, details: Sequence[int] = TRAINING_DETAILS) -> TrainingBatch:
    """Batch ``index`` of the endless training stream ``seed``; the same arguments give the same batch.

    Args:
        seed, index: which batch, both at least 0.
        n: scenes.
        details: levels of detail of the captions, drawn uniformly from this sequence.
    """
    with np.errstate(over="ignore"):
        key = mix64(mix64(np.array([seed], dtype=np.uint64)) + np.uint64(index))
    seeds = mix64(mix64(np.arange(n, dtype=np.uint64)) ^ key)
    scenes = draw_scenes((seeds >> np.uint64(8)) | np.uint64(_REGIONS["train"] << 56))
    rng = random.Random(int(key[0]))
    return TrainingBatch(scenes, [_clip_caption(row, rng, details) for row in scenes.attributes.tolist()])


def pool(n: int = POOL_SIZE) -> list[Clip]:
    """The first n clips of the pool; a smaller pool is a prefix of a larger one."""
    return _clips("pool", n)


def references(n: int = REFERENCES) -> list[Clip]:
    """The first n real clips that distances are measured from; no network is trained on them."""
    return _clips("reference", n)


def validation_prompts(n: int = VALIDATION_PROMPTS) -> list[Prompt]:
    """The first n short prompts, all different, on which settings are chosen."""
    return _prompts("validation", n, VALIDATION_PROMPTS)


def test_prompts(n: int = TEST_PROMPTS) -> list[Prompt]:  # noqa: PT028  (a split, not a test)
    """The first n short prompts, all different, of the benchmark."""
    return _prompts("test", n, TEST_PROMPTS)


test_prompts.__test__ = False


def _clips(split: str, n: int) -> list[Clip]:
    if n < 1:
        raise PosError(f"The number of Shapes clips must be at least 1, not {n}.")
    scenes = _scenes(split, 0, n)
    captions = (
        _clip_caption(row, _rng(split, index)) for index, row in enumerate(scenes.attributes.tolist())
    )
    return [Clip(f"{split}-{i:05d}", text, scenes[i : i + 1]) for i, text in enumerate(captions)]


def _clip_caption(row: Sequence[int], rng: random.Random, details: Sequence[int] = TRAINING_DETAILS) -> str:
    return training_caption(row, details[int(rng.random() * len(details))], rng)


def _prompts(split: str, n: int, most: int) -> list[Prompt]:
    if not 1 <= n <= most:
        raise PosError(
            f"Shapes has {most} {split} prompts: their number must be between 1 and {most}, not {n}."
        )
    return [
        Prompt(text, f"{split}-{index:04d}", named_attributes(text))
        for index, text in enumerate(_held_out_texts(split, most)[:n])
    ]


@cache
def _held_out_texts(split: str, n: int) -> list[str]:
    """Short captions of the split's scenes that fall into its bucket, in order and without repetition."""
    texts: dict[str, str] = {}
    candidates = (text for text in _short_captions(split) if bucket(text) == split)
    while len(texts) < n:
        text = next(candidates)
        texts.setdefault(_normalised(text), text)
    return list(texts.values())


def _short_captions(split: str, block: int = 4096) -> Iterator[str]:
    for start in itertools.count(0, block):
        for offset, row in enumerate(_scenes(split, start, block).attributes.tolist()):
            rng = _rng(split, start + offset)
            yield caption(row, int(rng.random() * 2), rng)


def _normalised(text: str) -> str:
    return " ".join(words(text))


def _scenes(split: str, start: int, n: int) -> Scenes:
    return draw_scenes(np.arange(start, start + n, dtype=np.uint64) + np.uint64(_REGIONS[split] << 56))


def _rng(split: str, index: int) -> random.Random:
    return random.Random((_REGIONS[split] << 56) + index)
