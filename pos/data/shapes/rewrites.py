"""Rewriting in the Shapes world: examples to train a language model on."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pos.data.shapes import english, lexicon
from pos.data.shapes.captions import DETAILS, named_attributes
from pos.data.shapes.splits import held_out, training_caption
from pos.data.shapes.world import ATTRIBUTES

# What the Sentence-BERT neighbours of short prompts look like in the pool (measured on validation prompts):
# their levels of detail, and how often they repeat an attribute that the prompt names beyond chance.
_REFERENCE_DETAILS = (0, 0, 1, 1, 1, 2, 2, 3, 3)
_REPEATED = {"shape": 0.93, "colour": 0.6, "size": 0.1, "motion": 0.3, "background": 0.45, "texture": 0.3}
_PROMPT_DETAILS = (0, 0, 0, 1, 1, 1, 2, 3)
_FOREIGN_SUBJECT, _FOREIGN = 0.08, 0.08  # prompts with another subject, and about another world altogether


@dataclass(frozen=True)
class RewriteExample:
    """A prompt, reference captions (nearest first) and the rewrite that a language model should answer."""

    prompt: str
    references: tuple[str, ...]
    answer: str


def rewrite_example(rng: random.Random, references: int) -> RewriteExample:
    """Draw an example in which no text is held out (see ``splits.held_out``).

    The answer keeps every attribute that the prompt names, takes each other one from the first reference
    that names it (at random where none does), and repeats the sentence pattern of the first reference that
    names all six. A prompt about another subject than a shape keeps it; one of another world is answered
    with itself.

    Args:
        rng: where all choices come from.
        references: how many there are.
    """
    while True:
        example = _draw(rng, references)
        if not held_out(example.prompt) and not held_out(example.answer):
            return example


def neighbours(prompt: str, count: int, rng: random.Random) -> list[str]:
    """Captions like those that retrieval finds for a prompt: most share something of what it names."""
    return [neighbour.text for neighbour in _neighbours(named_attributes(prompt), count, rng)]


@dataclass(frozen=True)
class _Neighbour:
    """A caption, whether it names all attributes, and the seed of its wording."""

    text: str
    full: bool
    seed: int


def _neighbours(named: dict[str, int], count: int, rng: random.Random) -> list[_Neighbour]:
    found = []
    for _ in range(count):
        row = [
            named[name] if name in named and rng.random() < _REPEATED[name] else _index(values, rng)
            for name, values in ATTRIBUTES.items()
        ]
        detail, seed = _pick(_REFERENCE_DETAILS, rng), int(rng.random() * 2**53)
        found.append(
            _Neighbour(training_caption(row, detail, random.Random(seed)), detail == DETAILS - 1, seed)
        )
    return found


def _draw(rng: random.Random, references: int) -> RewriteExample:
    scene = [_index(values, rng) for values in ATTRIBUTES.values()]
    prompt = training_caption(scene, _pick(_PROMPT_DETAILS, rng), rng)
    found = _neighbours(named_attributes(prompt), references, rng)
    texts = tuple(neighbour.text for neighbour in found)
    draw = rng.random()
    if draw < _FOREIGN:
        sentence = english.sentence(rng)
        return RewriteExample(sentence, texts, _as_cased(sentence, "A"))
    wordings = [neighbour.seed for neighbour in found if neighbour.full] or [int(rng.random() * 2**53)]
    answer = training_caption(_combine(scene, prompt, texts), DETAILS - 1, random.Random(wordings[0]))
    if draw < _FOREIGN + _FOREIGN_SUBJECT:
        subject, shape = english.subject(rng), ATTRIBUTES["shape"][scene[0]]
        prompt, answer = _replace_noun(prompt, shape, subject), _replace_noun(answer, shape, subject)
    return RewriteExample(prompt, texts, answer)


def _combine(scene: Sequence[int], prompt: str, references: Sequence[str]) -> list[int]:
    """The prompt's attributes, what the references add (nearest first), and the scene's own for the rest."""
    known: dict[str, int] = {}
    for text in [*reversed(references), prompt]:
        known |= named_attributes(text)
    return [known.get(name, own) for name, own in zip(ATTRIBUTES, scene, strict=True)]


def _replace_noun(text: str, shape: str, subject: str) -> str:
    """The text about another subject; the longest noun goes first ("five-pointed star" before "star")."""
    nouns = "|".join(sorted(lexicon.NOUNS[shape], key=len, reverse=True))
    return re.sub(rf"\b(?:{nouns})\b", lambda noun: _as_cased(subject, noun[0]), text, flags=re.IGNORECASE)


def _as_cased(word: str, model: str) -> str:
    return word[0].upper() + word[1:] if model[0].isupper() else word


def _index(values: Sequence[str], rng: random.Random) -> int:
    return int(rng.random() * len(values))


def _pick(options: Sequence[int], rng: random.Random) -> int:
    return options[int(rng.random() * len(options))]
