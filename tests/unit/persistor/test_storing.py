"""Batches are stored by other threads while the worker pulls: what that may not change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import pytest
from tidemill_contracts.bus import Backlog, Delivery, Message, Subscription
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.objects import ObjectInfo
from tidemill_persistor.batching import BatchLimits, HandLimits
from tidemill_persistor.storing import AT_ONCE

MakeMessage = Callable[..., Message]
DONE = Backlog(waiting=0, leased=0)
WAIT_S = 20.0
BATCH = BatchLimits(messages_max=3, size_bytes_max=10**6, age_s_max=1.0)


class SlowStore(MemoryStore):
    """Writes wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.writing = 0
        self.writing_most = 0
        self._count = threading.Lock()

    def put(self, name: str, data: bytes, *, if_generation: int | None = None) -> ObjectInfo:
        with self._count:
            self.writing += 1
            self.writing_most = max(self.writing_most, self.writing)
        self.go.wait(WAIT_S)
        with self._count:
            self.writing -= 1
        return super().put(name, data, if_generation=if_generation)


class ByAttempt:
    """A subscription as Pub/Sub's: each delivery has an id of its own, and only a message's last counts."""

    def __init__(self, inner: Subscription) -> None:
        self._inner = inner
        self._last: dict[str, str] = {}
        self.asked = threading.Event()
        self.go = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def pull(self, messages_max: int, wait_s: float) -> list[Delivery]:
        deliveries = self._inner.pull(messages_max, wait_s)
        self._last.update({one.ack_id: f"{one.ack_id}/{one.attempt}" for one in deliveries})
        return [one._replace(ack_id=self._last[one.ack_id]) for one in deliveries]

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        self.asked.set()
        self.go.wait(WAIT_S)
        self._inner.acknowledge([ident for ident, last in self._last.items() if last in ack_ids])


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(AT_ONCE) as made:
        yield made


@pytest.fixture
def slow(make_rig: Callable[..., Any], executor: Executor) -> Iterator[Any]:
    store = SlowStore()
    yield make_rig(store=store, batch=BATCH, hand_limits=HandLimits(12, 10**7), executor=executor)
    store.go.set()


def turn_until(rig: Any, condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, "it never came true"
        rig.worker.turn()


def test_messages_are_pulled_while_a_batch_is_being_stored(slow: Any, make_message: MakeMessage) -> None:
    slow.bus.publish("samples", [make_message(str(n)) for n in range(3)])
    turn_until(slow, lambda: slow.store.writing == 1)

    slow.bus.publish("samples", [make_message("later")])
    turn_until(slow, lambda: slow.hand.message_count == 4)

    assert slow.stored() == []
    assert slow.subscription.backlog() == Backlog(waiting=0, leased=4)


def test_only_so_many_batches_are_stored_at_once_and_the_hand_keeps_its_limit(
    slow: Any, make_message: MakeMessage
) -> None:
    slow.bus.publish("samples", [make_message(str(n)) for n in range(30)])

    turn_until(slow, lambda: slow.hand.message_count >= 12)
    for _ in range(5):
        slow.worker.turn()

    assert slow.hand.message_count == 12
    assert slow.store.writing_most <= AT_ONCE
    slow.store.go.set()
    turn_until(slow, lambda: slow.hand.message_count == 0)
    assert sorted(int(one.message_id) for one in slow.stored()) == list(range(1, 31))
    assert slow.subscription.backlog() == DONE


def test_what_a_thread_could_not_store_is_tried_again_before_anything_is_pulled(
    make_rig: Callable[..., Any], executor: Executor, make_message: MakeMessage
) -> None:
    rig = make_rig(executor=executor)
    rig.bus.publish("samples", [make_message(str(n)) for n in range(3)])
    rig.store.failing = True
    with pytest.raises(Unavailable) as failed:
        turn_until(rig, lambda: False)
    rig.worker.outage.pause_s(failed.value)
    rig.bus.publish("samples", [make_message("later")])

    for _ in range(3):
        with pytest.raises(Unavailable):
            rig.worker.turn()

    assert rig.subscription.backlog() == Backlog(waiting=1, leased=3)
    rig.store.failing = False
    turn_until(rig, lambda: rig.hand.message_count == 1)
    assert sorted(one.message_id for one in rig.stored()) == ["1", "2", "3"]
    assert rig.worker.outage.reason == ""


def test_a_message_that_comes_again_while_it_is_acknowledged_is_acknowledged_as_it_came_last(
    make_rig: Callable[..., Any], executor: Executor, make_message: MakeMessage
) -> None:
    rig = make_rig(executor=executor)
    rig.subscription = subscription = ByAttempt(rig.subscription)
    rig.restart()
    rig.bus.publish("samples", [make_message(str(n)) for n in range(3)])
    turn_until(rig, subscription.asked.is_set)
    rig.clock.now_s += 31.0  # the leases run out, and the same messages come again
    rig.worker.turn()

    subscription.go.set()
    turn_until(rig, lambda: rig.hand.message_count == 0)

    assert subscription.backlog() == DONE
    assert len(rig.stored()) == 3


def test_a_stop_stores_what_is_under_way_and_what_is_in_hand(slow: Any, make_message: MakeMessage) -> None:
    slow.bus.publish("samples", [make_message(str(n)) for n in range(7)])
    turn_until(slow, lambda: slow.hand.message_count == 7 and slow.store.writing > 0)
    slow.store.go.set()

    slow.worker.flush()

    assert len(slow.stored()) == 7
    assert slow.hand.message_count == 0
    assert slow.subscription.backlog() == DONE
