import random
import re

import pytest

from pos.data.shapes.captions import DETAILS, MAX_WORDS, caption, named_attributes
from pos.data.shapes.lexicon import NOUNS
from pos.data.shapes.rewrites import rewrite_example
from pos.data.shapes.splits import held_out
from pos.data.shapes.world import ATTRIBUTES


@pytest.fixture(scope="module")
def examples():
    rng = random.Random(0)
    return [rewrite_example(rng, references=5) for _ in range(600)]


def of_this_world(examples):
    return [example for example in examples if len(named_attributes(example.answer)) == len(ATTRIBUTES)]


def test_no_text_is_held_out_and_none_is_too_long(examples):
    for example in examples:
        texts = [example.prompt, *example.references, example.answer]
        assert len(texts) == 7
        assert not any(held_out(text) for text in texts)
        assert all(len(text.split()) <= MAX_WORDS for text in texts)


def test_an_answer_keeps_the_prompt_and_fills_in_from_the_nearest_reference_that_can(examples):
    about_shapes = of_this_world(examples)
    assert len(about_shapes) > 450
    for example in about_shapes:
        answer, prompt = named_attributes(example.answer), named_attributes(example.prompt)
        assert prompt.items() <= answer.items()
        for name in answer.keys() - prompt.keys():
            offered = [
                named_attributes(text)[name] for text in example.references if name in named_attributes(text)
            ]
            assert not offered or answer[name] == offered[0]


def test_an_answer_speaks_like_the_first_full_reference(examples):
    pattern = re.compile(
        r"^(?:Animation of|Video of|Footage of|A clip of|Motion graphics of|Animated view of)"
    )
    alike = total = 0
    for example in of_this_world(examples):
        full = [text for text in example.references if len(named_attributes(text)) == len(ATTRIBUTES)]
        opening = pattern.match(full[0]) if full else None
        if opening:
            total += 1
            alike += example.answer.startswith(opening[0])
    assert total > 20
    assert alike / total > 0.7  # a held-out or overlong wording is drawn again


def test_prompts_of_other_subjects_and_worlds_keep_them(examples):
    nouns = re.compile(r"\b(?:" + "|".join(sum(NOUNS.values(), ())) + r")\b", re.IGNORECASE)
    strange = [example for example in examples if not nouns.search(example.prompt)]
    repeated = [example for example in strange if example.answer.lower() == example.prompt.lower()]
    assert 20 < len(repeated) < len(strange) < 160
    for example in strange:
        assert not nouns.search(example.answer)


def test_the_same_generator_gives_the_same_example():
    assert rewrite_example(random.Random(7), 5) == rewrite_example(random.Random(7), 5)
    assert rewrite_example(random.Random(7), 5) != rewrite_example(random.Random(8), 5)


def test_detailed_captions_of_one_generator_share_their_pattern():
    """What answers rely on: the choices of words do not depend on the attributes."""
    blue, red = [0, 2, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]
    for seed in range(50):
        first = caption(red, DETAILS - 1, random.Random(seed)).split()
        second = caption(blue, DETAILS - 1, random.Random(seed)).split()
        assert sum(a != b for a, b in zip(first, second, strict=True)) <= 2  # the colour, and "a" for "an"
