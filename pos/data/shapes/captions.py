"""English captions of Shapes scenes, from "ring moving left" to a sentence that names all six attributes.

WebVid's alternate texts are the model: short sentences and fragments in many patterns. Only
``random.Random.random`` is drawn from, whose stream Python guarantees: captions are the same everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from pos.data.shapes import lexicon
from pos.data.shapes.lexicon import named_attributes
from pos.data.shapes.world import ATTRIBUTES

__all__ = ["DETAILS", "MAX_WORDS", "caption", "named_attributes"]

MAX_WORDS = 20  # of any caption
DETAILS = 4  # levels of detail: 0 terse ... 3 all six attributes

_GROUNDS = ("background", "backdrop", "background", "backdrop", "wall", "surface", "canvas")
_OPENINGS = ("Animation of", "Video of", "Footage of", "A clip of", "Motion graphics of", "Animated view of")
_CHARACTERS = ("bright", "vivid", "lone", "single", "glossy", "neat", "simple", "bold")
_WEIGHTS = {
    "colour": 2.0,
    "size": 1.0,
    "motion": 4.0,
    "background": 1.0,
    "texture": 0.6,
}  # what short captions name
_TRAVELLING = {"left", "right", "up", "down"}

T = TypeVar("T")
Named = dict[str, str]


def caption(attributes: Sequence[int], detail: int, rng: random.Random) -> str:
    """A caption of a scene.

    Args:
        attributes: the scene's six indices, in the order of ``ATTRIBUTES``.
        detail: 0 names the shape and one more attribute, 1 two more, 2 three or four more, 3 all six.
        rng: where the choices of words and pattern come from.

    Returns:
        A sentence or a sentence fragment of at most ``MAX_WORDS`` words.
    """
    values = {name: values[int(i)] for (name, values), i in zip(ATTRIBUTES.items(), attributes, strict=True)}
    named = _choose(values, detail, rng)
    while True:
        text = _sentence(named, detail, rng)
        if len(text.split()) <= MAX_WORDS:
            return text


def _pick(options: Sequence[T], rng: random.Random) -> T:
    return options[int(rng.random() * len(options))]


def _choose(values: Named, detail: int, rng: random.Random) -> Named:
    """The attributes to name: always the shape, others drawn without replacement."""
    if detail == DETAILS - 1:
        return values
    count = (1, 2, 3 + int(rng.random() * 2))[detail]
    order = sorted(_WEIGHTS, key=lambda name: rng.random() ** (1 / _WEIGHTS[name]), reverse=True)
    chosen = {"shape", *order[:count]}
    return {name: value for name, value in values.items() if name in chosen}


def _sentence(named: Named, detail: int, rng: random.Random) -> str:
    ground = _ground(named, rng)
    if detail == 0 and rng.random() < 0.7:
        return _terse(named, ground, rng)
    pattern = _pick(_PATTERNS_BOTH if "motion" in named and ground else _PATTERNS_PART, rng)
    text = pattern(named, ground, rng)
    return text if rng.random() < 0.15 else text + "."


def _terse(named: Named, ground: str, rng: random.Random) -> str:
    parts = [_things(named, rng)]
    if "motion" in named:
        parts.append(_doing(named, rng, finite=False))
    if ground:
        parts.append(f"on {ground}")
    text = " ".join(parts)
    return text if rng.random() < 0.5 else _start(text)


def _things(named: Named, rng: random.Random, character: float = 0.0) -> str:
    """The object without an article: "small red ring"."""
    adjectives = []
    if rng.random() < character:
        adjectives.append(_pick(_CHARACTERS, rng))
    if "size" in named:
        adjectives.insert(0, _favour(lexicon.SIZE_WORDS[named["size"]], rng))
    if "colour" in named:
        adjectives.append(_favour(lexicon.COLOUR_WORDS[named["colour"]], rng))
    return " ".join([*adjectives, _favour(lexicon.NOUNS[named["shape"]], rng)])


def _favour(options: Sequence[str], rng: random.Random) -> str:
    """The first, plainest word half of the time."""
    return options[0] if rng.random() < 0.5 else _pick(options, rng)


def _ground(named: Named, rng: random.Random) -> str:
    """The background with its article, "a striped navy backdrop", or "" where it is not named."""
    if "background" not in named and "texture" not in named:
        return ""
    adjectives, tail = [], ""
    if "background" in named:
        adjectives.append(_favour(lexicon.BACKGROUND_WORDS[named["background"]], rng))
    if "texture" in named:
        if rng.random() < 0.35:
            tail = " with " + _pick(lexicon.TEXTURE_NOUNS[named["texture"]], rng)
        else:
            texture = _favour(lexicon.TEXTURE_ADJECTIVES[named["texture"]], rng)
            adjectives.insert(0 if rng.random() < 0.8 else len(adjectives), texture)
    return _article(" ".join([*adjectives, _pick(_GROUNDS, rng)])) + tail


def _article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _start(text: str) -> str:
    return text[0].upper() + text[1:]


def _doing(named: Named, rng: random.Random, finite: bool) -> str:
    verb = _pick(lexicon.motion_phrases(named["motion"]), rng)[0 if finite else 1]
    draw = rng.random()
    if draw < 0.2:
        return f"{_pick(lexicon.ADVERBS, rng)} {verb}"
    return f"{verb} {_pick(lexicon.ADVERBS, rng)}" if draw < 0.3 else verb


def _over(named: Named, rng: random.Random) -> str:
    options = ("on", "against", "over", "in front of", "against", "on")
    return _pick((*options, "across", "across") if named.get("motion") in _TRAVELLING else options, rng)


# Patterns of a sentence that names a motion and a background.
def _plain(named: Named, ground: str, rng: random.Random) -> str:
    thing = _start(_article(_things(named, rng, 0.2)))
    return f"{thing} {_doing(named, rng, True)} {_over(named, rng)} {ground}"


def _ground_first(named: Named, ground: str, rng: random.Random) -> str:
    where = _pick(("Against", "On", "Over", "In front of"), rng)
    return f"{where} {ground}, {_article(_things(named, rng, 0.2))} {_doing(named, rng, True)}"


def _fragment(named: Named, ground: str, rng: random.Random) -> str:
    return f"{_start(_things(named, rng))} {_doing(named, rng, False)} {_over(named, rng)} {ground}"


def _footage(named: Named, ground: str, rng: random.Random) -> str:
    thing = _article(_things(named, rng, 0.2))
    return f"{_pick(_OPENINGS, rng)} {thing} {_doing(named, rng, False)} {_over(named, rng)} {ground}"


def _ground_with(named: Named, ground: str, rng: random.Random) -> str:
    return f"{_start(ground)}, where {_article(_things(named, rng, 0.2))} {_doing(named, rng, True)}"


def _aside(named: Named, ground: str, rng: random.Random) -> str:
    described = [named[name] for name in ("size", "colour") if name in named]
    if not described:
        return _plain(named, ground, rng)
    bare = {name: value for name, value in named.items() if name not in ("size", "colour")}
    words = [_favour(_WORDS[name][named[name]], rng) for name in ("size", "colour") if name in named]
    thing = _start(_article(_things(bare, rng)))
    return f"{thing}, {' and '.join(words)}, {_doing(named, rng, True)} {_over(named, rng)} {ground}"


def _as_it(named: Named, ground: str, rng: random.Random) -> str:
    thing = _article(_things(named, rng, 0.2))
    return f"{_start(_doing(named, rng, False))} {_over(named, rng)} {ground}, {thing} {_pick(_STAYS, rng)}"


# Patterns where the motion or the background is left open.
def _part_sentence(named: Named, ground: str, rng: random.Random) -> str:
    thing = _article(_things(named, rng, 0.2))
    if "motion" in named:
        return f"{_start(thing)} {_doing(named, rng, True)}"
    return f"{_start(thing)} on {ground}" if ground else f"There is {thing}"


def _part_fragment(named: Named, ground: str, rng: random.Random) -> str:
    return _part(_start(_things(named, rng)), named, ground, rng)


def _part_footage(named: Named, ground: str, rng: random.Random) -> str:
    return _part(f"{_pick(_OPENINGS, rng)} {_article(_things(named, rng, 0.2))}", named, ground, rng)


def _part_there(named: Named, ground: str, rng: random.Random) -> str:
    return _part(f"There is {_article(_things(named, rng, 0.2))}", named, ground, rng)


def _part(opening: str, named: Named, ground: str, rng: random.Random) -> str:
    if "motion" in named:
        return f"{opening} {_doing(named, rng, False)}"
    return f"{opening} {_over(named, rng)} {ground}" if ground else opening


_WORDS = {"size": lexicon.SIZE_WORDS, "colour": lexicon.COLOUR_WORDS}
_STAYS = ("can be seen", "is in view", "catches the eye", "appears")
_PATTERNS_BOTH = (_plain, _plain, _ground_first, _fragment, _footage, _ground_with, _aside, _as_it)
_PATTERNS_PART = (_part_sentence, _part_sentence, _part_fragment, _part_footage, _part_there)
