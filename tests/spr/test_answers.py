from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pos.spr.answers import read_answer, seconds_to_wait


def body(message: object, **others: object) -> str:
    return json.dumps({"choices": [{"message": message, **others}]})


@pytest.mark.parametrize(
    ("answer", "text", "problem"),
    [
        (body({"content": "a ring"}), "a ring", None),
        (body({"content": None}), "", None),
        (body({}), "", None),
        (body({"content": "a ring", "refusal": "no"}), "", "refused"),
        (body({"content": "a ri"}, finish_reason="content_filter"), "", "refused"),
        (body({"content": ["a ring"]}), "", "unreadable"),
        (body("a ring"), "", "unreadable"),
        ('{"choices": [{"message": {"content": "a \\ud800 ring"}}]}', "a  ring", None),
        ('{"choices": null}', "", "unreadable"),
        ('{"choices": []}', "", "unreadable"),
        ("[]", "", "unreadable"),
        ("null", "", "unreadable"),
        ("", "", "unreadable"),
        ("[" * 100_000, "", "unreadable"),
    ],
)
def test_what_an_answer_says(answer, text, problem):
    reply = read_answer(answer, "x" * 9, 0.5)
    assert (reply.text, reply.problem, reply.seconds) == (text, problem, 0.5)
    assert reply.answered == (problem != "unreadable"), "what is no answer is no answer another time either"
    assert reply.instruction_tokens == 3


@pytest.mark.parametrize(
    "usage", [None, 7, {}, {"prompt_tokens": "3", "completion_tokens": -1}, {"prompt_tokens": True}]
)
def test_usage_that_is_not_reported_is_estimated(usage):
    answer = json.dumps({"choices": [{"message": {"content": "a ring!!"}}], "usage": usage})
    reply = read_answer(answer, "x" * 12, 0.0)
    assert (reply.instruction_tokens, reply.reply_tokens) == (3, 2)


KEYS = ("choices", "message", "content", "usage", "prompt_tokens", "refusal")
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
)


@given(JSON | st.text())
def test_no_answer_is_an_exception(value):
    reply = read_answer(value if isinstance(value, str) else json.dumps(value), "x", 0.0)
    assert reply.problem in (None, "unreadable", "refused")
    reply.text.encode()


def test_retry_after_is_a_number_or_a_date():
    assert seconds_to_wait({"retry-after": "2.5"}) == 2.5
    assert seconds_to_wait({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert seconds_to_wait({"retry-after-ms": "soon", "retry-after": "9"}) == 9
    later = datetime.now(UTC) + timedelta(seconds=30)
    assert seconds_to_wait({"retry-after": format_datetime(later, usegmt=True)}) == pytest.approx(30, abs=2)
    earlier = datetime.now(UTC) - timedelta(hours=1)
    assert seconds_to_wait({"retry-after": format_datetime(earlier, usegmt=True)}) == 0


@pytest.mark.parametrize("value", ["", "soon", "-1", "nan", "inf", "Fri, 99 Foo 2026"])
def test_any_other_retry_after_is_none(value):
    assert seconds_to_wait({"retry-after": value}) is None
    assert seconds_to_wait({}) is None
