"""Preparing the next items of a loop in the background, so that a device does not wait for the processor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetched(items: Iterable[Item], prepare: Callable[[Item], Result]) -> Iterator[Result]:
    """``prepare(item)`` of each item in order; the next one is prepared while the caller works on one.

    At most one result exists besides the caller's. An exception of ``prepare`` is raised where its
    result is due, and a caller that stops early waits for the preparation under way.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as worker:
        waiting: Future[Result] | None = None
        for item in items:
            following = worker.submit(prepare, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()
