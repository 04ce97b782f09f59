"""Rewrites by the grammar of Shapes: what a language model could do that never errs and sees no reference."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from pos.data.shapes.captions import DETAILS
from pos.data.shapes.lexicon import named_attributes
from pos.data.shapes.splits import training_caption
from pos.data.shapes.world import ATTRIBUTES
from pos.spr.engines import Reply
from pos.storage import content_hash


class GrammarEngine:
    """Answers a prompt with a detailed caption of a random scene that agrees with all that the prompt names.

    It sees no reference. The scene depends on the prompt, the attempt and the seed alone.
    """

    def __init__(self) -> None:
        names = {name: list(values) for name, values in ATTRIBUTES.items()}
        self.fingerprint = content_hash("grammar", names, DETAILS)

    def complete(self, instructions: Sequence[str], *, attempt: int, seed: int) -> Iterator[dict[int, Reply]]:
        """All captions at once; here an instruction is the prompt itself."""
        yield {
            row: Reply(describe(prompt, random.Random(content_hash(prompt, attempt, seed))))
            for row, prompt in enumerate(instructions)
        }


def describe(prompt: str, rng: random.Random) -> str:
    """A caption of all six attributes: those that the prompt names, and the others drawn."""
    known = named_attributes(prompt)
    scene = [known.get(name, rng.randrange(len(values))) for name, values in ATTRIBUTES.items()]
    return training_caption(scene, DETAILS - 1, rng)
