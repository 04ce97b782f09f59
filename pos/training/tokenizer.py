"""What the tokenizer of Shapes is trained on: captions, the rewriting instruction and general English."""

from __future__ import annotations

import random
from collections.abc import Iterator

from pos.data.shapes.captions import DETAILS
from pos.data.shapes.splits import training_batch
from pos.storage import asset

CAPTIONS = 20000  # of each level of detail
ENGLISH_REPEATS = 3  # so that words which occur once there can still become tokens


def shapes_corpus(instruction: str, seed: int = 0) -> Iterator[str]:
    """The texts, none of them held out.

    Args:
        instruction: the template of the language model's instruction; its fields may stay in braces.
        seed: of the captions.
    """
    rng = random.Random(seed)
    for detail in range(DETAILS):
        for text in training_batch(seed, detail, CAPTIONS, details=(detail,)).captions:
            yield (
                text if rng.random() < 0.5 else text.lower()
            )  # towers read lower case, the rewriter does not
    english = asset("shapes/english.txt").read_text(encoding="utf-8").splitlines()
    for _ in range(ENGLISH_REPEATS):
        for text in [instruction, *english]:
            yield from (text, text.lower())
