"""Items are prepared ahead, in order, and no further than one."""

from __future__ import annotations

import threading

import pytest

from pos.prefetch import prefetched


def test_results_come_in_order_and_the_next_is_prepared_meanwhile() -> None:
    prepared, started = [], threading.Event()

    def prepare(item: int) -> int:
        prepared.append(item)
        if item == 1:
            started.set()
        return item * 10

    results = prefetched(range(4), prepare)
    assert next(results) == 0
    assert started.wait(5), "the second is prepared while the caller has the first"
    assert prepared == [0, 1], "at most one exists besides the caller's"
    assert list(results) == [10, 20, 30]
    assert prepared == [0, 1, 2, 3]
    assert list(prefetched([], prepare)) == []


def test_an_error_is_raised_where_its_result_is_due() -> None:
    results = prefetched([1, 0, 2], lambda item: 1 // item)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_caller_may_stop_early() -> None:
    prepared = []
    for result in prefetched(range(100), lambda item: prepared.append(item) or item):
        if result == 2:
            break
    assert len(prepared) <= 5
