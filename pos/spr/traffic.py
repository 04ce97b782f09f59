"""State that the requests of a run share: budget, pauses that the server requires, whether to go on."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from pos.errors import PosError
from pos.spr.engines import Reply

log = logging.getLogger(__name__)

PATIENCE = 16
"""Prompts in a row without an answer after which a run may stop requesting."""

LONGEST_SILENCE = 300.0  # seconds without an answer that it takes too, unless the server rejects them all


class Traffic:
    """Safe to use from many threads.

    Args:
        budget: tokens that may be used; None is no limit.
        server: its name, for messages.
        longest_wait: seconds; a server that requires a longer pause gets no more requests.
    """

    def __init__(self, budget: int | None, server: str, longest_wait: float = math.inf) -> None:
        self.budget, self.server, self.longest_wait = budget, server, longest_wait
        self._lock = threading.Lock()
        self._stopped = False
        self._no_more = threading.Event()  # stopped or closed: whoever waits need not
        self._failure: PosError | None = None
        self._closed: str | None = None
        self._spent = self._unanswered = 0
        self._last_answer = time.monotonic()
        self._resume = 0.0

    def open(self) -> None:
        """Allow requests, again."""
        with self._lock:
            self._stopped = False
            if self._closed is None:
                self._no_more.clear()
            self._last_answer = time.monotonic()

    def stop(self) -> None:
        """End all waiting for requests."""
        with self._lock:
            self._stopped = True
            self._no_more.set()

    def fail(self, failure: PosError) -> PosError:
        """Stop the run with an error that every prompt would get; the next request raises it too."""
        self._failure = failure
        return failure

    def problem(self) -> str | None:
        """Wait for the end of a required pause; return why there are no more requests, or None.

        Raises:
            PosError: what stopped the run.
        """
        while (wait := self._resume - time.monotonic()) > 0 and not self._no_more.wait(wait):
            pass
        if self._failure is not None:
            raise self._failure
        if self._stopped:
            return "interrupted"
        with self._lock:
            if self._closed is None and self.budget is not None and self._spent >= self.budget:
                self._close(
                    "out of budget",
                    f"The budget of {self.budget} tokens is spent ({self._spent}): the prompts that are left "
                    "stay as they are; raise rewriter.engine.budget and run again.",
                )
            return self._closed

    def rest(self, required: float | None, otherwise: float) -> None:
        """Wait before the next request: all of them for the required pause, or this one for ``otherwise`` s.

        No request waits longer than ``longest_wait``: a server that requires more gets no more requests.
        """
        if required is None:
            self._no_more.wait(otherwise)
            return
        with self._lock:
            if required <= self.longest_wait:
                self._resume = max(self._resume, time.monotonic() + required)
            elif self._closed is None:
                self._close(
                    "no answer",
                    f"{self.server} requires a pause of {required:.1f} s, and longest_wait_ms allows "
                    f"{self.longest_wait:g} s: the prompts that are left stay as they are; run again later.",
                )

    def answered(self, reply: Reply) -> None:
        """Count the tokens of a body; it is an answer of the model only where ``reply.answered``."""
        with self._lock:
            self._spent += reply.instruction_tokens + reply.reply_tokens
            if reply.answered:
                self._unanswered, self._last_answer = 0, time.monotonic()

    def unanswered(self, problem: str, detail: str) -> None:
        """Count a prompt without an answer."""
        with self._lock:
            self._unanswered += 1
            silent = time.monotonic() - self._last_answer > LONGEST_SILENCE or problem == "rejected"
            if self._closed is None and self._unanswered >= PATIENCE and silent:
                self._close(
                    problem,
                    f"{self.server} answered none of {self._unanswered} prompts in a row ({detail}): those "
                    "that are left stay as they are; run again when it answers.",
                )

    def _close(self, problem: str, sentence: str) -> None:
        self._closed = problem
        self._no_more.set()
        log.warning("%s", sentence)


def as_completed(work: Callable[[Any], Any], items: Sequence[Any], threads: int) -> Iterator[tuple[int, Any]]:
    """The index and the result of each item, in the order in which threads are done with them.

    A process does not wait for these threads at its end, as it does for those of an executor: after Ctrl-C a
    request may hang for its whole timeout.
    """
    todo: SimpleQueue[tuple[int, Any]] = SimpleQueue()
    done: SimpleQueue[tuple[int, Future[Any]]] = SimpleQueue()
    for pair in enumerate(items):
        todo.put(pair)

    def run() -> None:
        while True:
            try:
                index, item = todo.get_nowait()
            except Empty:
                return
            result: Future[Any] = Future()
            try:
                result.set_result(work(item))
            except Exception as error:  # noqa: BLE001 - raised where the result is read
                result.set_exception(error)
            done.put((index, result))

    for _ in range(threads):
        threading.Thread(target=run, daemon=True).start()
    try:
        for _ in items:
            index, result = done.get()
            yield index, result.result()
    finally:
        with suppress(Empty):  # what nobody waits for is not begun
            while True:
                todo.get_nowait()
