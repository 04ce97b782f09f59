import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pos.data.shapes import lexicon
from pos.data.shapes.captions import DETAILS, MAX_WORDS, caption, named_attributes
from pos.data.shapes.world import ATTRIBUTES

SCENES = st.tuples(*(st.integers(0, len(values) - 1) for values in ATTRIBUTES.values()))
NAMED = {0: {2}, 1: {3}, 2: {4, 5}, 3: {6}}  # how many attributes a level of detail names


def value_names(named: dict[str, int]) -> dict[str, str]:
    return {name: ATTRIBUTES[name][index] for name, index in named.items()}


@settings(max_examples=1500, deadline=None)
@given(SCENES, st.integers(0, DETAILS - 1), st.integers(0, 2**32))
def test_a_caption_says_what_it_names_and_no_more(scene, detail, seed):
    text = caption(scene, detail, random.Random(seed))
    named = named_attributes(text)
    truth = dict(zip(ATTRIBUTES, scene, strict=True))
    assert named.items() <= truth.items(), text
    assert len(named) in NAMED[detail], text
    assert "shape" in named, text
    assert len(text.split()) <= MAX_WORDS
    assert "  " not in text
    assert named_attributes(text.upper().replace(".", " !")) == named


def test_no_caption_is_longer_than_the_limit():
    rng = random.Random(1)
    scene = (3, 6, 1, 5, 0, 1)  # has the longest words of every attribute
    lengths = [len(caption(scene, 3, rng).split()) for _ in range(20000)]
    assert MAX_WORDS - 1 <= max(lengths) <= MAX_WORDS


def test_captions_are_functions_of_the_generator_and_vary():
    scene = (4, 0, 0, 0, 3, 1)
    assert caption(scene, 3, random.Random(5)) == caption(scene, 3, random.Random(5))
    rng = random.Random(0)
    assert len({caption(scene, 3, rng) for _ in range(300)}) > 290
    assert len({caption(scene, 0, rng) for _ in range(300)}) > 60


def test_captions_are_the_recorded_ones():
    """Trained networks and published prompts depend on these texts: a change here means training again."""
    rng = random.Random(0)
    assert [caption((4, 0, 0, 0, 3, 1), detail, rng) for detail in range(DETAILS)] == RECORDED


RECORDED = [
    "There is a crimson ring.",
    "A little ring slides left.",
    "A ring, small and red, travels to the left against a striped background.",
    "A clip of a small crimson hoop floating towards the left against a striped navy background.",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ring moving left", {"shape": "ring", "motion": "left"}),
        ("A RED ring, moving LEFT!", {"shape": "ring", "colour": "red", "motion": "left"}),
        ("the tiny turquoise hoop drifts very slowly", {"shape": "ring", "colour": "cyan", "size": "small"}),
        ("a ball moves up and down", {"shape": "circle", "motion": "bouncing"}),
        ("the star will fly to the left", {"shape": "star", "motion": "left"}),
        ("a ball rolling softly right", {"shape": "circle", "motion": "right"}),
        ("a star slides slowly up", {"shape": "star", "motion": "up"}),
        ("a star moves from left to right", {"shape": "star", "motion": "right"}),
        ("a star rocks left and right", {"shape": "star", "motion": "swaying"}),
        ("a star turning anti-clockwise", {"shape": "star", "motion": "counterclockwise"}),
        (
            "a plus sign getting bigger on a polka-dot wall",
            {"shape": "cross", "motion": "growing", "texture": "dotted"},
        ),
        ("a jet-black backdrop with no pattern", {"background": "black", "texture": "plain"}),
        ("a red and a blue ring", {"shape": "ring"}),
        ("a red ring and a red star", {"colour": "red"}),
        ("a circle on the left lights up", {"shape": "circle"}),
        ("a man crosses the street and circles the ringing phone", {}),
        ("a dog, running", {}),
        ("someone rides the waves", {}),
        ("hundred percent orange juice, light and bright", {}),
        ("", {}),
        ("日本語", {}),
    ],
)
def test_texts_of_others_are_read(text, expected):
    assert value_names(named_attributes(text)) == expected


def test_every_value_can_be_said():
    tables = {
        "shape": lexicon.NOUNS,
        "colour": lexicon.COLOUR_WORDS,
        "size": lexicon.SIZE_WORDS,
        "background": lexicon.BACKGROUND_WORDS,
        "texture": lexicon.TEXTURE_ADJECTIVES,
    }
    for name, table in tables.items():
        assert tuple(table) == ATTRIBUTES[name]
        for value, phrases in table.items():
            for phrase in phrases:
                assert value_names(named_attributes(phrase)) == {name: value}
    for motion in ATTRIBUTES["motion"]:
        for finite, participle in lexicon.motion_phrases(motion):
            assert value_names(named_attributes(finite)) == {"motion": motion}
            assert value_names(named_attributes(f"softly {participle} evenly")) == {"motion": motion}


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error(text):
    for name, index in named_attributes(text).items():
        assert 0 <= index < len(ATTRIBUTES[name])
