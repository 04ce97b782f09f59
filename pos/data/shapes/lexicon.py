"""The words of the Shapes captions, and the way back: which attributes does a text name?

Every phrase belongs to one value of one attribute, so that a caption can be read back exactly. A text is read
without case, punctuation and the adverbs of manner below, longest phrase first.
"""

from __future__ import annotations

import re
from itertools import product

from pos.data.shapes.world import ATTRIBUTES

ADVERBS = (
    "slowly",
    "gently",
    "smoothly",
    "steadily",
    "quietly",
    "calmly",
    "gracefully",
    "softly",
    "evenly",
    "lazily",
)

NOUNS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc", "ball"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star", "five-pointed star"),
    "ring": ("ring", "hoop"),
    "cross": ("cross", "plus sign"),
}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "scarlet", "crimson"),
    "green": ("green", "emerald"),
    "blue": ("blue", "cobalt"),
    "yellow": ("yellow", "lemon"),
    "cyan": ("cyan", "turquoise"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "hot-pink"),
    "white": ("white", "snow-white"),
}
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "tiny", "little"),
    "medium": ("medium-sized", "medium", "mid-sized"),
    "large": ("large", "big", "huge"),
}
BACKGROUND_WORDS: dict[str, tuple[str, ...]] = {
    "black": ("black", "jet-black"),
    "grey": ("grey", "gray", "slate"),
    "brown": ("brown", "chocolate"),
    "navy": ("navy", "midnight"),
    "sand": ("sandy", "beige", "tan"),
}
TEXTURE_ADJECTIVES: dict[str, tuple[str, ...]] = {
    "plain": ("plain", "blank", "featureless"),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "polka-dot", "spotted"),
    "checkered": ("checkered", "chequered", "checkerboard"),
}
TEXTURE_NOUNS: dict[str, tuple[str, ...]] = {
    "plain": ("no pattern",),
    "striped": ("stripes", "slanting stripes", "diagonal stripes"),
    "dotted": ("dots", "neat dots", "polka dots"),
    "checkered": ("a chessboard pattern", "checkered squares"),
}

Verb = tuple[str, str]  # "moves", "moving"
GOING: tuple[Verb, ...] = (
    ("moves", "moving"),
    ("drifts", "drifting"),
    ("glides", "gliding"),
    ("slides", "sliding"),
    ("travels", "travelling"),
    ("floats", "floating"),
    ("goes", "going"),
)
DIRECTIONS: dict[str, tuple[str, ...]] = {
    "left": ("left", "to the left", "leftwards", "from right to left", "towards the left"),
    "right": ("right", "to the right", "rightwards", "from left to right", "towards the right"),
    "up": ("up", "upwards", "straight up"),
    "down": ("down", "downwards", "straight down"),
    "clockwise": ("clockwise", "in a clockwise loop", "around clockwise"),
    "counterclockwise": (
        "counterclockwise",
        "in a counterclockwise loop",
        "around anticlockwise",
        "anticlockwise",
    ),
}
VERBS: dict[str, tuple[Verb, ...]] = {
    "up": (("rises", "rising"), ("climbs", "climbing"), ("ascends", "ascending")),
    "down": (("sinks", "sinking"), ("descends", "descending"), ("falls", "falling")),
    "clockwise": (("circles clockwise", "circling clockwise"), ("loops clockwise", "looping clockwise")),
    "counterclockwise": (
        ("circles counterclockwise", "circling counterclockwise"),
        ("loops anticlockwise", "looping anticlockwise"),
    ),
    "bouncing": (
        ("bounces", "bouncing"),
        ("bounces up and down", "bouncing up and down"),
        ("hops", "hopping"),
        ("hops up and down", "hopping up and down"),
    ),
    "swaying": (
        ("sways", "swaying"),
        ("sways from side to side", "swaying from side to side"),
        ("swings back and forth", "swinging back and forth"),
        ("sways left and right", "swaying left and right"),
    ),
    "growing": (
        ("grows", "growing"),
        ("expands", "expanding"),
        ("gets bigger", "getting bigger"),
        ("swells", "swelling"),
    ),
    "shrinking": (
        ("shrinks", "shrinking"),
        ("contracts", "contracting"),
        ("gets smaller", "getting smaller"),
    ),
}
# Understood beside what the captions say themselves.
_ALSO_GOING = (
    *sum(GOING, ()), "move", "drift", "glide", "slide", "travel", "traveling", "float", "go",
    "fly", "flies", "flying", "roll", "rolls", "rolling", "sail", "sails", "sailing",
)  # fmt: skip
_ALSO: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {"circle": ("disk",), "ring": ("donut", "doughnut"), "star": ("star shape",)},
    "colour": {},
    "size": {"medium": ("midsize", "medium size"), "large": ("giant",)},
    "motion": {
        "left": ("leftward", "from the right to the left", "right to left"),
        "right": ("rightward", "from the left to the right", "left to right"),
        "up": ("upward",),
        "down": ("downward", "drops", "dropping"),
        "counterclockwise": ("counter clockwise", "anti clockwise"),
        "bouncing": ("bounce", "up and down", "bobbing", "bobs", "jumping", "jumps"),
        "swaying": ("sway", "side to side", "back and forth", "left and right", "swings", "swinging"),
        "growing": ("grow", "growing larger", "grows larger", "getting larger", "gets larger", "enlarging"),
        "shrinking": ("shrink", "dwindles", "dwindling"),
    },
    "background": {"sand": ("sand",)},
    "texture": {
        "striped": ("stripe", "diagonally striped"),
        "dotted": ("polka dotted",),
        "checkered": ("checked", "chessboard"),
    },
}


def motion_phrases(motion: str) -> tuple[Verb, ...]:
    """The verb phrases of a motion, each as ("moves left", "moving left")."""
    going = tuple(
        (f"{verb} {direction}", f"{participle} {direction}")
        for direction, (verb, participle) in product(DIRECTIONS.get(motion, ()), GOING)
    )
    return VERBS.get(motion, ()) + going


def words(text: str) -> list[str]:
    """The words of a text in lower case; hyphens part words, apostrophes do not."""
    return re.findall(r"[^\W_]+(?:['\u2019][^\W_]+)*", text.lower())


def _phrases() -> dict[tuple[str, ...], tuple[str, int]]:
    spoken = {
        "shape": NOUNS,
        "colour": COLOUR_WORDS,
        "size": SIZE_WORDS,
        "motion": {motion: sum(motion_phrases(motion), ()) for motion in ATTRIBUTES["motion"]},
        "background": BACKGROUND_WORDS,
        "texture": {
            value: TEXTURE_ADJECTIVES[value] + TEXTURE_NOUNS[value] for value in ATTRIBUTES["texture"]
        },
    }
    there_and_back = {"bouncing": ("up and down",), "swaying": ("left and right",)}
    for motion, directions in (DIRECTIONS | there_and_back).items():
        spoken["motion"][motion] += tuple(f"{verb} {d}" for verb, d in product(_ALSO_GOING, directions))
        # "runs to the left" is understood; a bare "left" or "up" says too little
        spoken["motion"][motion] += tuple(d for d in directions if d not in ("left", "right", "up", "down"))
    meanings: dict[tuple[str, ...], tuple[str, int]] = {}
    for attribute, values in ATTRIBUTES.items():
        for index, value in enumerate(values):
            for phrase in spoken[attribute][value] + _ALSO[attribute].get(value, ()):
                key = tuple(word for word in words(phrase) if word not in ADVERBS)
                if meanings.setdefault(key, (attribute, index)) != (attribute, index):
                    raise ValueError(f"The phrase '{phrase}' has two meanings.")
    return meanings


_MEANINGS = _phrases()
_LONGEST = max(len(key) for key in _MEANINGS)


def named_attributes(text: str) -> dict[str, int]:
    """The attributes a text names, as indices into ``ATTRIBUTES``; {} for a text about something else.

    An attribute of which the text names two different values ("a red and a blue ring") is left out.
    """
    tokens = [word for word in words(text) if word not in ADVERBS]
    found: dict[str, set[int]] = {}
    position = 0
    while position < len(tokens):
        for length in range(min(_LONGEST, len(tokens) - position), 0, -1):
            meaning = _MEANINGS.get(tuple(tokens[position : position + length]))
            if meaning is not None:
                found.setdefault(meaning[0], set()).add(meaning[1])
                break
        position += length if meaning is not None else 1
    return {
        attribute: found[attribute].pop() for attribute in ATTRIBUTES if len(found.get(attribute, ())) == 1
    }
