"""What the requests of a run share: its budget, the pauses their server asks for, and whether to go on."""

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
"""Prompts in a row without an answer, after which a run may ask for no more."""

LONGEST_SILENCE = 300.0  # seconds without an answer that it takes too, unless the server rejects them all


class Traffic:
    """Safe to use from many threads.

    Args:
        budget: tokens that may be used; None is no limit.
        server: its name, for what is said.
        longest_wait: seconds; a server that asks for a longer pause is asked no more.
    """

    def __init__(self, budget: int | None, server: str, longest_wait: float = math.inf) -> None:
        self.budget, self.server, self.longest_wait = budget, server, longest_wait
        self._lock = threading.Lock()
        self._stopped = False
        self._no_more = threading.Event()  # stopped or closed: whoever waits need not
        self._failure: PosError | None = None
        self._closed: str | None = None
        self._spent = self._unanswered = 0
        self._heard = time.monotonic()
        self._resume = 0.0

    def open(self) -> None:
        """Requests begin, again."""
        with self._lock:
            self._stopped = False
            if self._closed is None:
                self._no_more.clear()
            self._heard = time.monotonic()

    def stop(self) -> None:
        """Nobody waits for requests any more."""
        with self._lock:
            self._stopped = True
            self._no_more.set()

    def fail(self, failure: PosError) -> PosError:
        """What would fail for every prompt stops the run: whoever asks next gets it too."""
        self._failure = failure
        return failure

    def problem(self) -> str | None:
        """Why no more is asked, once the pause that the server asked for is over; None: ask.

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

    def rest(self, asked: float | None, otherwise: float) -> None:
        """Wait before the next request: all requests as long as the server asked, or this one.

        Nobody waits longer than ``longest_wait``: a server that asks for more is asked no more.
        """
        if asked is None:
            self._no_more.wait(otherwise)
            return
        with self._lock:
            if asked <= self.longest_wait:
                self._resume = max(self._resume, time.monotonic() + asked)
            elif self._closed is None:
                self._close(
                    "no answer",
                    f"{self.server} asks for a pause of {asked:.1f} s, and longest_wait_ms allows "
                    f"{self.longest_wait:g} s: the prompts that are left stay as they are; run again later.",
                )

    def answered(self, reply: Reply) -> None:
        """A body came: count its tokens. It is an answer only where the model is heard in it."""
        with self._lock:
            self._spent += reply.instruction_tokens + reply.reply_tokens
            if reply.heard:
                self._unanswered, self._heard = 0, time.monotonic()

    def unanswered(self, problem: str, detail: str) -> None:
        """A prompt was given up."""
        with self._lock:
            self._unanswered += 1
            silent = time.monotonic() - self._heard > LONGEST_SILENCE or problem == "rejected"
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


def as_they_come(work: Callable[[Any], Any], items: Sequence[Any], threads: int) -> Iterator[tuple[int, Any]]:
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
            except Exception as error:  # noqa: BLE001 - raised where the result is asked for
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
