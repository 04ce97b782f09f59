"""Rewriting in the Shapes world: examples to train a language model on, and what rewrites do to prompts."""

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


def attribute_changes(prompts: Sequence[str], rewrites: Sequence[str]) -> dict[str, float]:
    """What rewriting did to the attributes that the prompts name; similarity of sentences cannot see it.

    Returns:
        ``changed``: the share of rewrites that name another value for at least one of them; ``lost``: the
        share that leave at least one of them out (or name two values of it). 0 for no prompts.
    """
    changed = lost = 0
    for prompt, rewrite in zip(prompts, rewrites, strict=True):
        named, kept = named_attributes(prompt), named_attributes(rewrite)
        changed += any(name in kept and kept[name] != value for name, value in named.items())
        lost += any(name not in kept for name in named)
    count = max(len(prompts), 1)
    return {"changed": changed / count, "lost": lost / count}


def _draw(rng: random.Random, references: int) -> RewriteExample:
    scene = _scene(rng)
    prompt = training_caption(scene, _pick(_PROMPT_DETAILS, rng), rng)
    named = named_attributes(prompt)
    seeds = [_seed(rng) for _ in range(references)]
    details = [_pick(_REFERENCE_DETAILS, rng) for _ in seeds]
    neighbours = [_neighbour(scene, named, rng) for _ in seeds]
    texts = [
        training_caption(row, detail, random.Random(seed))
        for row, detail, seed in zip(neighbours, details, seeds, strict=True)
    ]
    draw = rng.random()
    if draw < _FOREIGN:
        sentence = english.sentence(rng)
        return RewriteExample(sentence, tuple(texts), _as_cased(sentence, "A"))
    full = [seed for seed, detail in zip(seeds, details, strict=True) if detail == DETAILS - 1]
    pattern = random.Random(full[0] if full else _seed(rng))
    answer = training_caption(_combine(scene, named, texts), DETAILS - 1, pattern)
    if draw < _FOREIGN + _FOREIGN_SUBJECT:
        subject = english.subject(rng)
        shape = list(ATTRIBUTES["shape"])[scene[0]]
        prompt, answer = _replace_noun(prompt, shape, subject), _replace_noun(answer, shape, subject)
    return RewriteExample(prompt, tuple(texts), answer)


def _scene(rng: random.Random) -> list[int]:
    return [int(rng.random() * len(values)) for values in ATTRIBUTES.values()]


def _neighbour(scene: Sequence[int], named: dict[str, int], rng: random.Random) -> list[int]:
    other = _scene(rng)
    repeat = [name in named and rng.random() < _REPEATED[name] for name in ATTRIBUTES]
    return [mine if same else theirs for mine, theirs, same in zip(scene, other, repeat, strict=True)]


def _combine(scene: Sequence[int], named: dict[str, int], references: Sequence[str]) -> list[int]:
    """The prompt's attributes, what the references add (nearest first), and the scene's own for the rest."""
    known: dict[str, int] = {}
    for text in reversed(references):
        known |= named_attributes(text)
    known |= named
    return [known.get(name, own) for name, own in zip(ATTRIBUTES, scene, strict=True)]


def _replace_noun(text: str, shape: str, subject: str) -> str:
    """The text about another subject; the longest noun goes first ("five-pointed star" before "star")."""
    nouns = "|".join(sorted(lexicon.NOUNS[shape], key=len, reverse=True))
    return re.sub(rf"\b(?:{nouns})\b", lambda noun: _as_cased(subject, noun[0]), text, flags=re.IGNORECASE)


def _as_cased(word: str, model: str) -> str:
    return word[0].upper() + word[1:] if model[0].isupper() else word


def _pick(options: Sequence[int], rng: random.Random) -> int:
    return options[int(rng.random() * len(options))]


def _seed(rng: random.Random) -> int:
    return int(rng.random() * 2**53)
