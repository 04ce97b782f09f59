import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pos.spr.cleaning import clean_reply, is_refusal

SENTENCE = "A small red ring moves left, slowly."


@pytest.mark.parametrize(
    "reply",
    [
        SENTENCE,
        f"  {SENTENCE}\n\nI kept the meaning.",
        f'"{SENTENCE}"',
        f"“{SENTENCE}”",
        f"1. {SENTENCE}",
        f"- {SENTENCE}",
        f"* **{SENTENCE}**",
        f"Rewritten sentence: {SENTENCE}",
        f'Sure, here is the rewritten sentence: "{SENTENCE}"',
        f"Sure! Here's a rewritten version of the sentence:\n\n{SENTENCE}",
        f"Certainly!\n{SENTENCE}",
        f"Here is the sentence, rewritten in at most 20 words:\n\n- '{SENTENCE}'",
        f"\n\nAnswer: {SENTENCE}\n",
        f"Sure thing! I'd be happy to help you with that. Here is the rewritten sentence:\n\n{SENTENCE}",
        f"I can help you rewrite the sentence! Here's a possible version in 19 words:\n{SENTENCE}",
        f"Of course! Let me rewrite that for you: {SENTENCE}",
        f"Here you go: {SENTENCE}",
        f"Here are a few options:\n\n1. {SENTENCE}\n2. A ring moves.\n3. A star.",
        f"Option 1: {SENTENCE}",
        f"Rewritten sentence (20 words): {SENTENCE}",
        f"**Rewritten sentence:** {SENTENCE}",
        f"Sentence: a red ring\nRewritten sentence: {SENTENCE}",
        f"Original sentence: a red ring\n\n**Revised prompt:**\n{SENTENCE}",
        f"{SENTENCE} I kept the meaning and added adjectives.",
        f"{SENTENCE} (7 words)",
        f'"{SENTENCE}" (7 words)',
        f'"{SENTENCE}" I imitated the examples.',
        f"{SENTENCE} [word count: 7]",
        f"<think>The user wants a ring.\nLet me see.</think>\n\n{SENTENCE}",
        f'{SENTENCE} "This keeps the meaning."',
    ],
)
def test_the_sentence_is_found_in_a_reply(reply):
    assert clean_reply(reply) == SENTENCE


@pytest.mark.parametrize("reply", ["", "\n \n", '""', "Sure!", "Rewritten sentence:", '"'])
def test_a_reply_that_says_nothing_is_empty(reply):
    assert clean_reply(reply) == ""


@pytest.mark.parametrize(
    "sentence",
    [
        "Sure-footed goats climb a rock.",
        "Here is a dog running on grass",
        "50% off! a sale sign",
        "The dog's tail, 3.5 metres long",
        "Sentence structure on a blackboard: old",
        "'70s music and a dancer in the '80s",
        "Mr. Smith and Dr. Jones walk past St. Paul's at 5 p.m. today",
        "A car of the U.S. Army drives by",
        "Version of a song: live",
        '"Happy birthday" written on a cake',
        "Time lapse of clouds, 4k. slow motion",
        "A man says (in 1 take) hello",
        "Let me fly",
    ],
)
def test_an_ordinary_sentence_is_left_alone(sentence):
    assert clean_reply(sentence) == sentence


@given(st.text(max_size=80))
def test_cleaning_any_text_gives_one_line_of_words_that_were_there(reply):
    cleaned = clean_reply(reply)
    assert cleaned == " ".join(cleaned.split())
    assert set(cleaned) <= set(reply) | {" "}


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        ("A dog runs! It barks.", "A dog runs!"),
        ('A sign says "stop." Cars wait.', 'A sign says "stop."'),
        ("1. A dog runs. 2. A cat sleeps.", "A dog runs."),
    ],
)
def test_only_the_first_sentence_counts(reply, sentence):
    assert clean_reply(reply) == sentence


@pytest.mark.parametrize(
    ("reply", "refuses"),
    [
        ("I'm sorry, but I cannot fulfil this request. Try another.", True),
        ("I apologize, but the examples are violent.", True),
        ("As an AI language model, I can't watch videos", True),
        ("Unfortunately, I am unable to rewrite it", True),
        ("Sorry, no.", True),
        ("A sorry dog cannot climb the wall", False),
        ("I walk along the beach", False),
    ],
)
def test_a_refusal_is_told_from_a_sentence(reply, refuses):
    assert is_refusal(clean_reply(reply)) is refuses


def test_a_very_long_reply_takes_no_longer():
    began = time.perf_counter()
    clean_reply("here is " + "a sentence and " * 100_000)
    clean_reply("I would " + "help you " * 100_000)
    assert time.perf_counter() - began < 1


def test_control_characters_and_halves_of_characters_are_blanks():
    assert clean_reply("a\x00red \ud800ring\u200b moves") == "a red ring moves"
