"""Few pulls are out at a time, and what they bring is given to whoever takes next."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from tidemill_chassis.adapters.pubsub_pull import CALLS_MAX, OutstandingPull

WAIT_S = 30.0
"""Far more than is needed: a call is answered as soon as the test says so."""


class Answers:
    """An API whose calls are answered when the test says so, with messages or an error."""

    def __init__(self) -> None:
        self.asked: SimpleQueue[int] = SimpleQueue()
        self.answers: SimpleQueue[list[str] | Exception] = SimpleQueue()

    def once(self, _rpc: Any, request: Any, *, timeout_s: float) -> Any:
        self.asked.put(request.max_messages)
        answer = self.answers.get(timeout=timeout_s)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(received_messages=answer)


@pytest.fixture
def api() -> Iterator[Answers]:
    made = Answers()
    yield made
    for _ in range(CALLS_MAX):
        made.answers.put([])  # whatever call is still out ends


@pytest.fixture
def pull(api: Answers) -> OutstandingPull:
    return OutstandingPull(api, "projects/p/subscriptions/s")  # type: ignore[arg-type]  # all that it uses


def test_a_call_that_outlasts_its_wait_is_answered_to_a_later_take(
    pull: OutstandingPull, api: Answers
) -> None:
    early = pull.take(10, 0.01)[0]
    api.answers.put(["a", "b"])
    later = pull.take(10, WAIT_S)[0]

    assert (early, later) == ([], ["a", "b"])
    assert api.asked.get(timeout=WAIT_S) == 10
    assert api.asked.empty()


def test_more_than_is_wanted_waits_for_the_next_take(pull: OutstandingPull, api: Answers) -> None:
    api.answers.put(["a", "b", "c"])

    assert [pull.take(2, WAIT_S)[0], pull.take(2, WAIT_S)[0]] == [["a", "b"], ["c"]]


def test_what_is_asked_ahead_comes_without_a_further_call(pull: OutstandingPull, api: Answers) -> None:
    pull.ask(1)
    pull.ask(1)
    api.answers.put(["a"])

    assert pull.take(3, WAIT_S)[0] == ["a"]
    assert api.asked.get(timeout=WAIT_S) == 1
    assert api.asked.empty()


def test_calls_that_ask_ahead_share_what_may_come(pull: OutstandingPull, api: Answers) -> None:
    pull.ask(5)
    pull.ask(5)
    shares = [api.asked.get(timeout=WAIT_S) for _ in range(2)]
    api.answers.put(["a"])
    first = pull.take(5, WAIT_S)[0]
    api.answers.put(["b"])

    assert shares == [3, 3]
    assert [first, pull.take(5, WAIT_S)[0]] == [["a"], ["b"]]
    assert api.asked.empty()


def test_the_failure_of_one_call_keeps_what_another_brings(pull: OutstandingPull, api: Answers) -> None:
    pull.ask(4)
    api.answers.put(ConnectionError("cut"))
    with pytest.raises(ConnectionError, match="cut"):
        pull.take(4, WAIT_S)
    api.answers.put(["a"])

    assert pull.take(4, WAIT_S)[0] == ["a"]


def test_an_error_is_told_once_and_the_next_take_calls_again(pull: OutstandingPull, api: Answers) -> None:
    api.answers.put(ConnectionError("cut"))

    with pytest.raises(ConnectionError, match="cut"):
        pull.take(1, WAIT_S)
    api.answers.put(["a"])
    assert pull.take(1, WAIT_S)[0] == ["a"]


def test_at_the_end_what_nobody_took_is_handed_over(pull: OutstandingPull, api: Answers) -> None:
    api.answers.put(["a", "b", "c"])
    pull.take(1, WAIT_S)

    assert pull.close() == ["b", "c"]
    assert pull.take(1, WAIT_S)[0] == []


def test_nobody_waits_at_the_end_for_a_call_that_is_out(pull: OutstandingPull, api: Answers) -> None:
    pull.ask(1)
    api.asked.get(timeout=WAIT_S)
    closing = threading.Thread(target=pull.close)

    closing.start()
    closing.join(WAIT_S / 3)

    assert not closing.is_alive()
