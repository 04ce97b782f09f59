"""When a server is asked again, how long it is let rest, and when it is asked no more."""

from __future__ import annotations

import logging
import re
import time

import pytest

from pos.spr import traffic
from pos.spr.server import KEY
from tests.spr.chat_server import failed, serving
from tests.spr.test_server import SECRET, once, rewrite, rewriter


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv(KEY, SECRET)


def test_a_spent_budget_keeps_what_is_done_and_counts_the_rest(tmp_path, caplog):
    prompts = [f"ring {number}" for number in range(10)]
    with serving() as chat:
        asking = rewriter(chat, tmp_path, concurrency=1, budget=100)
        rewrites = rewrite(asking, prompts, tmp_path)
        assert [found.reason for found in rewrites] == [None] * 3 + ["out of budget"] * 7  # 40 tokens each
        said_once = [message for message in caplog.messages if "budget" in message and "spent" in message]
        assert said_once == [
            "The budget of 100 tokens is spent (120): the prompts that are left stay as they are; "
            "raise rewriter.engine.budget and run again."
        ]
        assert len(chat.asked) == 3
        rewrites = rewrite(rewriter(chat, tmp_path), prompts, tmp_path)  # another run has no such budget
        assert all(found.accepted for found in rewrites)
        assert chat.counts == dict.fromkeys(prompts, 1)


def test_retry_after_holds_all_requests_back(tmp_path):
    with serving(limited=once(failed(429, retry_after_ms="300"))) as chat:
        asking = rewriter(chat, tmp_path, concurrency=1)
        rewrites = rewrite(asking, ["limited ring", "red ring", "blue ring"], tmp_path)
        assert all(found.accepted for found in rewrites)
        (_, _, first), (_, _, second), *_ = chat.asked
        assert 0.29 < second - first < 10


def test_the_pause_of_a_prompt_that_is_given_up_holds_the_others_back(tmp_path):
    with serving(limited=lambda *_: failed(429, retry_after_ms="300")) as chat:
        asking = rewriter(chat, tmp_path, concurrency=1, retries=0)
        limited, red = rewrite(asking, ["limited ring", "red ring"], tmp_path)
        assert (limited.reason, red.reason) == ("no answer", None)
        (_, _, first), (_, _, second) = chat.asked
        assert 0.29 < second - first < 10


@pytest.mark.parametrize("retries", [0, 1])
def test_a_server_that_wants_too_long_a_wait_is_not_waited_for(tmp_path, caplog, retries):
    with serving(limited=lambda *_: failed(429, Retry_After="3600")) as chat:
        began = time.monotonic()
        prompts = ["limited ring", *(f"ring {number}" for number in range(9))]
        rewrites = rewrite(rewriter(chat, tmp_path, concurrency=1, retries=retries), prompts, tmp_path)
        assert [(found.text, found.reason, found.attempts) for found in rewrites] == [
            (prompt, "no answer", 0) for prompt in prompts
        ]
        assert len(chat.asked) == 1, "it asked for an hour of silence"
        assert time.monotonic() - began < 30
        assert [message for message in caplog.messages if "3600.0 s" in message] == [
            f"{chat.url} requires a pause of 3600.0 s, and longest_wait_ms allows 2 s: the prompts that are "
            "left stay as they are; run again later."
        ]
        rewrites = rewrite(rewriter(chat, tmp_path), prompts, tmp_path)  # another run asks again
        assert len(chat.asked) > 1


def test_a_page_in_the_place_of_an_answer_is_asked_again(tmp_path):
    page = (200, {"Content-Type": "text/html"}, b"<html>Bad gateway</html>")
    with serving(gateway=once(page)) as chat:
        (found,) = rewrite(rewriter(chat, tmp_path), ["gateway ring"], tmp_path)
        assert (found.text, found.attempts) == ("a fine gateway ring", 1)
        assert [request["temperature"] for _, request, _ in chat.asked] == [0.0, 0.0], "one attempt, twice"


def test_backoff_doubles_up_to_its_limit(tmp_path, monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr(traffic.Traffic, "rest", lambda _self, _asked, otherwise: waited.append(otherwise))
    with serving(down=lambda *_: failed(500)) as chat:
        rewrite(rewriter(chat, tmp_path, retries=4, backoff_ms=500), ["down ring"], tmp_path)
    assert waited == [0.5, 1.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("answer", "silence", "reason", "detail"),
    [
        (failed(400, f"Unsupported parameter: 'max_tokens' {SECRET}"), 300.0, "rejected",
         "status 400: .*Unsupported parameter: 'max_tokens' .key."),
        (failed(503), 0.0, "no answer", "status 503"),
        ((200, {}, b"<html>Bad gateway</html>"), 0.0, "unreadable", "no chat completion"),
    ],
)  # fmt: skip
def test_a_server_that_answers_nobody_is_left_alone(
    tmp_path, caplog, monkeypatch, answer, silence, reason, detail
):
    monkeypatch.setattr(traffic, "LONGEST_SILENCE", silence)
    prompts = [f"ring {number}" for number in range(60)]
    with serving(ring=lambda *_: answer) as chat:
        rewrites = rewrite(rewriter(chat, tmp_path, concurrency=2, retries=0), prompts, tmp_path)
        assert {found.reason for found in rewrites} == {reason}
        assert traffic.PATIENCE <= len(chat.asked) <= traffic.PATIENCE + 2
        (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert warning.startswith(f"{chat.url} answered none of 16 prompts in a row (")
        assert re.search(detail, warning)
        assert SECRET not in caplog.text


def test_a_short_outage_does_not_end_the_asking(tmp_path):
    prompts = [f"down {number}" for number in range(30)] + ["red ring"]
    with serving(down=lambda *_: failed(503)) as chat:
        rewrites = rewrite(rewriter(chat, tmp_path, concurrency=1, retries=0), prompts, tmp_path)
    assert rewrites[-1].accepted
