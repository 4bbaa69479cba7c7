"""Calls that are held up give up their place, and nothing that was taken is forgotten."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest
from tidemill_serving.engine.call_threads import CallThreads

PATIENCE_S = 30.0


@pytest.fixture
def threads():
    made = CallThreads(at_once=2, most=4)
    yield made
    made.shutdown()


def test_results_and_errors_come_back(threads):
    assert threads.submit(divmod, 7, 2).result(PATIENCE_S) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 7, 0).result(PATIENCE_S)


def test_calls_that_are_held_up_do_not_hold_up_the_others(threads):
    freed = threading.Event()
    held = [threads.submit(freed.wait, PATIENCE_S) for _ in range(2)]

    assert threads.submit(lambda: "answered").result(PATIENCE_S) == "answered"
    freed.set()
    assert all(each.result(PATIENCE_S) for each in held)


def test_there_are_never_more_threads_than_it_may_have(threads):
    freed = threading.Event()
    begun: list[Future[int]] = []
    counting = threading.Semaphore(0)

    def hold() -> int:
        counting.release()
        freed.wait(PATIENCE_S)
        return 1

    begun = [threads.submit(hold) for _ in range(9)]
    for _ in range(4):
        assert counting.acquire(timeout=PATIENCE_S)
    assert not counting.acquire(timeout=0.2)
    freed.set()
    assert sum(each.result(PATIENCE_S) for each in begun) == 9


def test_helpers_leave_when_nobody_waits(threads):
    freed = threading.Event()
    done = [threads.submit(freed.wait, PATIENCE_S) for _ in range(4)]
    freed.set()
    for each in done:
        each.result(PATIENCE_S)

    again = [threads.submit(threading.get_ident) for _ in range(50)]
    assert len({each.result(PATIENCE_S) for each in again}) <= 4


def test_what_was_taken_is_done_after_the_end_was_asked_for(threads):
    freed = threading.Event()
    calls = [threads.submit(freed.wait, PATIENCE_S) for _ in range(2)]
    calls += [threads.submit(lambda: True) for _ in range(20)]

    threads.shutdown()
    freed.set()

    assert all(each.result(PATIENCE_S) for each in calls)
    with pytest.raises(RuntimeError, match="no call can be taken"):
        threads.submit(int)


def test_thousands_of_short_calls_from_many_callers(threads):
    counted: list[int] = []

    def caller() -> None:
        for number in range(500):
            counted.append(threads.submit(lambda number=number: number).result(PATIENCE_S))

    callers = [threading.Thread(target=caller) for _ in range(4)]
    for each in callers:
        each.start()
    for each in callers:
        each.join(PATIENCE_S)
    assert sorted(counted) == sorted(list(range(500)) * 4)
