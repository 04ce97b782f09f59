"""Who sees what: the training stream, the pool, the references, and the validation and test prompts of Shapes.

Scenes of different splits come from disjoint ranges of seeds. Texts are parted by a hash: one text in eight is held out, half of
those for the test and half for validation; training, pool and rewriter draw a caption again until it is not held out. So no
test prompt stands in anything a network was trained on, by construction.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pos.data.shapes.captions import caption
from pos.data.shapes.lexicon import named_attributes, words
from pos.data.shapes.world import Scenes, draw_scenes, mix64
from pos.errors import PosError

POOL_SIZE, REFERENCES, VALIDATION_PROMPTS, TEST_PROMPTS = 2000, 2048, 512, 2048
_BUCKETS = {0: "test", 1: "validation"}  # of 16
_REGIONS = {"pool": 1, "reference": 2, "validation": 3, "test": 4, "train": 5}  # the top byte of a scene's seed
_DETAILS = (0, 1, 1, 2, 2, 2, 3, 3, 3, 3)  # of the captions beside clips: mostly full sentences


@dataclass(frozen=True)
class Prompt:
    """A prompt to generate from: a stable id, the text, and the attributes it names as indices into ``ATTRIBUTES``."""

    id: str
    text: str
    attributes: dict[str, int]


@dataclass(frozen=True, eq=False)
class Clip:
    """A captioned clip: a stable id, the caption, and the scene (a batch of one) to render it from."""

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
    """The split for which a text is held out, "test" or "validation", or None. Case and punctuation do not count."""
    digest = hashlib.blake2b(" ".join(words(text)).encode(), digest_size=8).digest()
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


def training_batch(seed: int, index: int, n: int, details: Sequence[int] = _DETAILS) -> TrainingBatch:
    """Batch ``index`` of the endless training stream ``seed``; the same arguments give the same batch.

    Args:
        seed, index: which batch, both at least 0.
        n: scenes.
        details: levels of detail of the captions, drawn uniformly from this sequence.
    """
    key = mix64(mix64(np.array([seed], dtype=np.uint64)) + np.uint64(index))[0]
    seeds = mix64(np.arange(n, dtype=np.uint64) ^ key)
    scenes = draw_scenes((seeds >> np.uint64(8)) | np.uint64(_REGIONS["train"] << 56))
    return TrainingBatch(scenes, _captions(scenes, random.Random(int(key)), details))


def pool(n: int = POOL_SIZE) -> list[Clip]:
    """The first n clips of the pool; a smaller pool is a prefix of a larger one."""
    scenes = _scenes("pool", 0, n)
    rows = scenes.attributes.tolist()
    return [
        Clip(f"pool-{i:05d}", training_caption(row, _pick(_DETAILS, rng), rng), scenes[i : i + 1])
        for i, row in enumerate(rows)
        for rng in [_rng("pool", i)]
    ]


def references(n: int = REFERENCES) -> list[Clip]:
    """The first n real clips that distances are measured from; no network is trained on them."""
    scenes = _scenes("reference", 0, n)
    rows = scenes.attributes.tolist()
    return [
        Clip(f"reference-{i:05d}", caption(row, _pick(_DETAILS, rng), rng), scenes[i : i + 1])
        for i, row in enumerate(rows)
        for rng in [_rng("reference", i)]
    ]


def validation_prompts(n: int = VALIDATION_PROMPTS) -> list[Prompt]:
    """The first n short prompts on which settings are chosen."""
    return list(_prompts("validation", n))


def test_prompts(n: int = TEST_PROMPTS) -> list[Prompt]:
    """The first n short prompts of the benchmark, all different."""
    return list(_prompts("test", n))


test_prompts.__test__ = False  # pytest: not a test


def _scenes(split: str, start: int, n: int) -> Scenes:
    if n < 1:
        raise PosError(f"The number of Shapes clips or prompts must be at least 1, not {n}.")
    return draw_scenes(np.arange(start, start + n, dtype=np.uint64) + np.uint64(_REGIONS[split] << 56))


def _rng(split: str, index: int) -> random.Random:
    return random.Random((_REGIONS[split] << 56) + index)


def _pick(options: Sequence[int], rng: random.Random) -> int:
    return options[int(rng.random() * len(options))]


def _captions(scenes: Scenes, rng: random.Random, details: Sequence[int]) -> list[str]:
    return [training_caption(row, _pick(details, rng), rng) for row in scenes.attributes.tolist()]


@lru_cache
def _prompts(split: str, n: int) -> tuple[Prompt, ...]:
    """Short captions of the split's scenes that fall into its bucket, in order and without repetition."""
    prompts: list[Prompt] = []
    seen: set[str] = set()
    for index, row in _rows(split):
        rng = _rng(split, index)
        text = caption(row, int(rng.random() * 2), rng)
        key = " ".join(words(text))
        if bucket(text) != split or key in seen:
            continue
        seen.add(key)
        prompts.append(Prompt(f"{split}-{len(prompts):04d}", text, named_attributes(text)))
        if len(prompts) == n:
            return tuple(prompts)
    raise AssertionError("the stream of scenes has no end")


def _rows(split: str, block: int = 4096) -> Iterator[tuple[int, list[int]]]:
    start = 0
    while True:
        for offset, row in enumerate(_scenes(split, start, block).attributes.tolist()):
            yield start + offset, row
        start += block
