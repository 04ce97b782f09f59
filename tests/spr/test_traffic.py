from __future__ import annotations

import threading
import time

import pytest

from pos.errors import PosError
from pos.spr import traffic
from pos.spr.engines import Reply
from pos.spr.traffic import PATIENCE, Traffic, as_completed

SAID = Reply("a ring", instruction_tokens=30, reply_tokens=10)


def test_results_come_as_they_are_done_and_threads_share_the_work():
    released, inside = threading.Event(), threading.Barrier(2)

    def work(item: int) -> int:
        if item < 2:
            inside.wait(10)  # two at a time, or never
        if item == 0:
            released.wait(10)
        return item * item

    results = as_completed(work, range(4), 2)
    assert [next(results) for _ in range(3)] == [(1, 1), (2, 4), (3, 9)]
    released.set()
    assert list(results) == [(0, 0)]


def test_an_exception_is_raised_where_results_are_asked_for_and_nothing_new_begins():
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(0.01)
        raise PosError("no key")

    with pytest.raises(PosError, match="no key"):
        list(as_completed(work, range(100), 2))
    time.sleep(0.1)
    assert len(begun) < 10


def test_a_budget_closes_when_it_is_spent():
    shared = Traffic(80, "server")
    assert shared.problem() is None
    shared.answered(SAID)
    assert shared.problem() is None
    shared.answered(SAID)
    assert [shared.problem(), shared.problem()] == ["out of budget"] * 2


def test_an_answer_ends_a_row_of_silences(monkeypatch):
    monkeypatch.setattr(traffic, "LONGEST_SILENCE", 0.0)
    shared = Traffic(None, "server")
    for _ in range(PATIENCE - 1):
        shared.unanswered("no answer", "status 503")
    shared.answered(SAID)
    shared.unanswered("no answer", "status 503")
    assert shared.problem() is None
    for _ in range(PATIENCE - 1):
        shared.unanswered("no answer", "status 503")
    assert shared.problem() == "no answer"


def test_a_body_in_which_nobody_is_heard_costs_tokens_and_ends_no_silence(monkeypatch):
    monkeypatch.setattr(traffic, "LONGEST_SILENCE", 0.0)
    shared = Traffic(80, "server")
    for _ in range(PATIENCE):
        shared.unanswered("unreadable", "no chat completion")
        shared.answered(Reply(problem="unreadable", answered=False))
    assert shared.problem() == "unreadable"
    costly = Traffic(80, "server")
    costly.answered(Reply(problem="unreadable", answered=False, instruction_tokens=80))
    assert costly.problem() == "out of budget"


def test_a_pause_beyond_the_longest_ends_the_asking_and_every_wait(caplog):
    shared = Traffic(None, "server", longest_wait=60)
    shared.rest(50, otherwise=0)
    began = time.monotonic()
    for _ in range(2):
        threading.Timer(0.05, shared.rest, (3600, 0)).start()
    assert shared.problem() == "no answer"
    shared.open()  # as for another attempt
    shared.rest(None, otherwise=60)
    assert shared.problem() == "no answer"
    assert time.monotonic() - began < 30
    time.sleep(0.1)  # both timers
    assert caplog.messages == [
        "server requires a pause of 3600.0 s, and longest_wait_ms allows 60 s: the prompts that are left "
        "stay as they are; run again later."
    ]


def test_a_failure_is_everybodys():
    shared = Traffic(None, "server")
    assert str(shared.fail(PosError("no key"))) == "no key"
    with pytest.raises(PosError, match="no key"):
        shared.problem()


def test_a_pause_holds_everybody_until_it_is_over_or_nobody_waits_any_more():
    shared = Traffic(None, "server")
    began = time.monotonic()
    shared.rest(0.1, otherwise=60)
    assert time.monotonic() - began < 0.1  # the pause is before the next request
    assert shared.problem() is None
    assert time.monotonic() - began >= 0.1
    shared.rest(60, otherwise=0)
    threading.Timer(0.05, shared.stop).start()
    assert shared.problem() == "interrupted"
    shared.rest(None, otherwise=60)
    assert time.monotonic() - began < 30
