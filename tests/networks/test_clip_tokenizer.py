"""CLIP's tokens against open_clip's own tokenizer."""

from __future__ import annotations

import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pos.networks.clip_tokenizer import CONTEXT, clean_text, clip_tokenizer
from pos.networks.tokens import dropped_text, tokenize

TOKENIZER = clip_tokenizer()
BEGIN, END = 49406, 49407
TEXTS = [
    "",
    " ",
    "a dog",
    "A   Dog's &amp;amp; cat!!\n it\u2019s  ",
    "café cafe\u0301 ñ İstanbul ẞ \u017f K",
    "狗 й щя́ж 🐶🐶 \u3000 wide",
    "1234 5.6e7 don't they'll THEY'RE",
    "a_b-c/d\\e <b>x</b> #tag @me",
    "â€œmojibakeâ€\x9d",
    "word " * 75,
    "word " * 76,
    "word, " * 200,
    "x" * 500,
]


def tokens(texts: list[str]) -> torch.Tensor:
    return tokenize(TOKENIZER, [clean_text(text) for text in texts], pad_id=0)


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokens_are_open_clips(text):
    assert torch.equal(tokens([text]), open_clip.tokenize([text]))


# Of rarer characters (a combining iota, control and unassigned code points) each library has its own opinion.
@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60))
def test_the_tokens_of_any_text_are_open_clips(text):
    assert torch.equal(tokens([text]), open_clip.tokenize([text]))


def test_the_pad_is_what_is_asked_for():
    plain, zero = tokenize(TOKENIZER, ["a dog"])[0].tolist(), tokens(["a dog"])[0].tolist()
    assert len(plain) == len(zero) == CONTEXT
    assert plain == [BEGIN, 320, 1929, END] + [END] * (CONTEXT - 4)
    assert zero == [BEGIN, 320, 1929, END] + [0] * (CONTEXT - 4)


def test_what_a_long_text_loses_is_known():
    assert dropped_text(TOKENIZER, "word " * 75 + "lost", CONTEXT) == "lost"
    assert tokens(["word " * 75 + "lost"])[0, -1] == END
