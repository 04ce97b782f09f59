"""The grammar of Shapes as an engine: what a prompt names stays, and all is said."""

from __future__ import annotations

from pos.data.shapes.lexicon import named_attributes
from pos.data.shapes.splits import held_out, validation_prompts
from pos.data.shapes.world import ATTRIBUTES
from pos.spr.grammar import GrammarEngine

PROMPTS = [prompt.text for prompt in validation_prompts(100)]


def answers(prompts: list[str], attempt: int = 0, seed: int = 0) -> list[str]:
    (replies,) = GrammarEngine().complete(prompts, attempt=attempt, seed=seed)
    return [replies[row].text for row in range(len(prompts))]


def test_what_the_prompt_names_stays_and_everything_is_named():
    for prompt, text in zip(PROMPTS, answers(PROMPTS), strict=True):
        found = named_attributes(text)
        assert found.keys() == ATTRIBUTES.keys(), text
        assert named_attributes(prompt).items() <= found.items(), (prompt, text)
        assert len(text.split()) <= 20
        assert not held_out(text)


def test_an_answer_depends_on_prompt_attempt_and_seed_alone():
    assert answers(PROMPTS[::-1])[::-1] == answers(PROMPTS)
    assert answers(PROMPTS, attempt=1) != answers(PROMPTS) != answers(PROMPTS, seed=1)
