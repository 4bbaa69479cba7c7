"""What a handler raises decides what becomes of the delivery."""

from __future__ import annotations

import random

import pytest
from tidemill_chassis import worker
from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.retry import Backoff, call
from tidemill_contracts.bus import DEAD_REASON, Delivery, Message
from tidemill_contracts.errors import Corrupt, InvalidInput, Unavailable
from tidemill_contracts.memory_bus import MemoryBus


def run_over(bus: MemoryBus, outcomes: dict[bytes, list[Exception]]) -> list[bytes]:
    """Handle everything; each message raises its outcomes in turn, then succeeds. Return what succeeded."""
    stop = Stop()
    subscription = bus.subscribe("t", "s", attempts_max=3)
    done: list[bytes] = []
    turns = 0

    def handle(delivery: Delivery) -> None:
        left = outcomes.get(delivery.message.data, [])
        if left:
            raise left.pop(0)
        done.append(delivery.message.data)

    def idle() -> None:
        nonlocal turns
        turns += 1
        backlog = subscription.backlog()
        if turns > 200 or backlog.waiting + backlog.leased == 0:
            stop.set()

    worker.run(subscription, handle, stop=stop, wait_s=0.01, idle=idle)
    return done


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr(worker, "PAUSE_LIMIT_S", 0.002)


def test_what_succeeds_is_acknowledged() -> None:
    bus = MemoryBus()
    bus.publish("t", [Message(b"1"), Message(b"2")])

    assert run_over(bus, {}) == [b"1", b"2"]


def test_an_outage_is_waited_out_and_never_dead_lettered() -> None:
    bus = MemoryBus()
    bus.publish("t", [Message(b"1")])

    assert run_over(bus, {b"1": [Unavailable("down")]}) == [b"1"]
    assert bus.published("t.dead") == []


@pytest.mark.parametrize("error", [InvalidInput("bad"), Corrupt("bad")])
def test_poison_is_put_aside_with_the_reason_and_its_neighbours_live(error: Exception) -> None:
    bus = MemoryBus()
    bus.publish("t", [Message(b"1"), Message(b"poison"), Message(b"2")])

    assert run_over(bus, {b"poison": [error]}) == [b"1", b"2"]
    [letter] = bus.published("t.dead")
    assert letter.attributes[DEAD_REASON] == "bad"


def test_a_fault_of_ours_is_tried_again_and_put_aside_in_the_end() -> None:
    bus = MemoryBus()
    bus.publish("t", [Message(b"1"), Message(b"2")])

    assert run_over(bus, {b"1": [RuntimeError("bug")] * 9}) == [b"2"]
    [letter] = bus.published("t.dead")
    assert "3 times" in letter.attributes[DEAD_REASON]


def test_a_backoff_doubles_to_its_limit_and_begins_anew() -> None:
    backoff = Backoff(1, 8, random.Random(1))

    waits = [backoff.next_s() for _ in range(6)]
    backoff.reset()

    for wait, full in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
        assert full / 2 <= wait <= full
    assert backoff.next_s() <= 1


def test_a_call_is_tried_again_until_its_attempts_are_used_up() -> None:
    tries: list[int] = []

    def fails() -> None:
        tries.append(1)
        raise Unavailable("down")

    with pytest.raises(Unavailable):
        call(fails, attempts_max=3, sleep=lambda _: None)

    assert len(tries) == 3
