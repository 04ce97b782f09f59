"""Short English texts about anything but shapes, which a small language model learns to leave alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from pos.storage import asset

# Every subject begins with a consonant, so that it can stand where a shape stood after "a".
_SUBJECTS = (
    "dog", "cat", "horse", "bird", "fish", "bear", "panda", "monkey", "rabbit", "butterfly", "man",
    "woman", "boy", "girl", "child", "chef", "farmer", "dancer", "surfer", "skier", "player", "robot",
    "car", "truck", "train", "boat", "ship", "plane", "balloon", "bicycle", "motorcycle", "house",
    "tree", "flower", "river", "waterfall", "volcano", "cloud", "lamp", "candle", "guitar", "piano",
    "book", "cup", "cake", "pizza", "teddy bear", "cartoon character",
)  # fmt: skip
_INVENTED = 0.25  # subjects that no text holds, so that copying is learnt rather than a list of words
_EXCHANGED = 0.15  # words of a sentence that give way to others, for the same reason
_SHORTEST, _LONGEST = 3, 20  # words
_ONSETS = (
    "b",
    "br",
    "ch",
    "d",
    "f",
    "gl",
    "h",
    "k",
    "l",
    "m",
    "n",
    "pl",
    "r",
    "s",
    "sh",
    "st",
    "t",
    "v",
    "z",
)
_RHYMES = (
    "a",
    "ab",
    "ade",
    "ain",
    "ar",
    "e",
    "el",
    "en",
    "er",
    "i",
    "ick",
    "in",
    "o",
    "ock",
    "om",
    "u",
    "um",
)


def subject(rng: random.Random) -> str:
    """A noun that begins with a consonant: "dog", and now and then a made-up word."""
    return _invent(rng) if rng.random() < _INVENTED else _pick(_SUBJECTS, rng)


def sentence(rng: random.Random) -> str:
    """A sentence of ``assets/shapes/english.txt`` or the beginning of one, some of its words exchanged."""
    words = _pick(_sentences(), rng)
    words = words[: min(_LONGEST, _SHORTEST + int(rng.random() * len(words)))]
    return " ".join(_exchange(rng) if rng.random() < _EXCHANGED else word for word in words)


@lru_cache
def _sentences() -> tuple[tuple[str, ...], ...]:
    lines = asset("shapes/english.txt").read_text(encoding="utf-8").splitlines()
    return tuple(tuple(line.split()) for line in lines if len(line.split()) > _SHORTEST)


def _exchange(rng: random.Random) -> str:
    return _invent(rng) if rng.random() < _INVENTED else _pick(_pick(_sentences(), rng), rng)


def _invent(rng: random.Random) -> str:
    syllables = 2 + int(rng.random() * 2)
    return "".join(_pick(_ONSETS, rng) + _pick(_RHYMES, rng) for _ in range(syllables))


def _pick(options: Sequence, rng: random.Random):
    return options[int(rng.random() * len(options))]
