"""Short English sentences about anything but shapes, which a small language model learns to leave alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

# Every subject begins with a consonant, so that it can stand where a shape stood after "a".
_SUBJECTS = (
    "dog", "cat", "horse", "bird", "fish", "bear", "panda", "monkey", "rabbit", "butterfly", "man",
    "woman", "boy", "girl", "child", "chef", "farmer", "dancer", "surfer", "skier", "player", "robot",
    "car", "truck", "train", "boat", "ship", "plane", "balloon", "bicycle", "motorcycle", "house",
    "tree", "flower", "river", "waterfall", "volcano", "cloud", "lamp", "candle", "guitar", "piano",
    "book", "cup", "cake", "pizza", "teddy bear", "cartoon character",
)  # fmt: skip
_ACTIONS = (
    "running", "walking", "playing", "sleeping", "eating", "cooking dinner", "riding a wave", "singing",
    "dancing", "jumping over a fence", "driving fast", "standing still", "talking on the phone",
    "reading a newspaper", "looking at the camera", "flying", "swimming", "climbing a hill", "burning",
    "waiting", "smiling", "burning brightly", "playing the guitar", "kicking a football",
    "drinking coffee", "making a cake", "applying lipstick", "on fire",
)  # fmt: skip
_PLACES = (
    "in the snow", "on the beach", "in the city", "at night", "in a forest", "under the sea",
    "in the rain", "at sunset", "in the kitchen", "on the street", "in space", "near the river",
    "in the mountains", "on a sunny day", "in a park", "with friends", "in slow motion",
    "for the first time", "at the market", "in an old photograph", "in the wind",
)  # fmt: skip
_TRAITS = ("old", "young", "happy", "sad", "wet", "golden", "wooden", "beautiful", "lonely", "famous", "wild")
_FRAMES = (
    "a {subject} {action} {place}",
    "a {trait} {subject} {action}",
    "{subject} {action}",
    "the same {subject} is {action} {place}",
    "the {subject} is {action} {place}",
    "the {trait} {subject} is {action}",
    "someone is {action} {place}",
    "a {subject}, {action}, {place}",
    "a person {action} with a {subject}",
    "{action} {place}",
)
_STRANGE = 0.25  # words that no text holds, so that copying is learnt rather than a list of words
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
    return _invented(rng) if rng.random() < _STRANGE else _pick(_SUBJECTS, rng)


def sentence(rng: random.Random) -> str:
    """A short sentence or fragment: "a wet dog running", "someone is singing in the rain"."""
    text = _pick(_FRAMES, rng).format(
        subject=subject(rng), action=_pick(_ACTIONS, rng), place=_pick(_PLACES, rng), trait=_trait(rng)
    )
    return text + "." if rng.random() < 0.3 else text


def _trait(rng: random.Random) -> str:
    return _invented(rng) if rng.random() < _STRANGE else _pick(_TRAITS, rng)


def _invented(rng: random.Random) -> str:
    syllables = 2 + int(rng.random() * 2)
    return "".join(_pick(_ONSETS, rng) + _pick(_RHYMES, rng) for _ in range(syllables))


def _pick(options: Sequence[str], rng: random.Random) -> str:
    return options[int(rng.random() * len(options))]
