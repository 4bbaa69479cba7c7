"""What the stream of the Pub/Sub adapter promises beyond the port: bounds, outages, what it leaves behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from tidemill_chassis.adapters import pubsub_stream
from tidemill_chassis.adapters.pubsub_bus import PubsubBus
from tidemill_chassis.adapters.pubsub_stream import StreamingPull
from tidemill_contracts.bus import Bus, Delivery, Message
from tidemill_contracts.errors import Unavailable

WAIT_S = 5.0
ARRIVE_S_MAX = 60.0


def pull_all(subscription: Any, count: int) -> list[Delivery]:
    got: list[Delivery] = []
    end_s = time.monotonic() + ARRIVE_S_MAX
    while len(got) < count and time.monotonic() < end_s:
        deliveries = subscription.pull(500, 1.0)
        subscription.acknowledge([one.ack_id for one in deliveries])
        got += deliveries
    return got


def test_a_stream_takes_ahead_no_more_than_it_may(
    open_pubsub: Callable[..., Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub_stream, "AHEAD_MESSAGES_MAX", 150)
    bus = open_pubsub(streaming=True)
    subscription: Any = bus.subscribe("t", "s", ack_deadline_s=600)
    pulling = subscription._pulling
    assert isinstance(pulling, StreamingPull)
    bus.publish("t", [Message(str(number).encode()) for number in range(2000)])
    [first] = subscription.pull(1, WAIT_S)
    subscription.acknowledge([first.ack_id])

    most = 0
    got = [first]
    while len(got) < 2000:
        deliveries = subscription.pull(50, WAIT_S)
        assert deliveries
        subscription.acknowledge([one.ack_id for one in deliveries])
        got += deliveries
        most = max(most, len(pulling._ahead))

    assert most <= 150 + 100  # one answer of the emulator has at most 100
    assert len({one.message_id for one in got}) == 2000


def test_large_messages_come_by_a_stream_whole(open_pubsub: Callable[..., Bus]) -> None:
    bus = open_pubsub(streaming=True)
    subscription = bus.subscribe("t", "s", ack_deadline_s=600)
    bus.publish("t", [Message(bytes([n % 256]) * 60_000) for n in range(300)])

    got = pull_all(subscription, 300)

    assert sum(len(one.message.data) for one in got) == 300 * 60_000


def test_what_a_closed_stream_had_taken_ahead_comes_to_another(open_pubsub: Callable[..., Bus]) -> None:
    leaving, staying = open_pubsub(streaming=True), open_pubsub()
    left = leaving.subscribe("t", "s", ack_deadline_s=600)
    staying.publish("t", [Message(str(number).encode()) for number in range(10)])
    [taken] = left.pull(1, WAIT_S)
    left.acknowledge([taken.ack_id])

    leaving.close()

    got = pull_all(staying.subscribe("t", "s", ack_deadline_s=600), 9)
    assert {one.message.data for one in [taken, *got]} == {str(number).encode() for number in range(10)}


def test_a_stream_outlives_a_server_that_was_started_anew(own_pubsub_emulator: Any, pubsub_url: str) -> None:
    bus = PubsubBus.from_url(f"{pubsub_url}?pull=streaming", own_pubsub_emulator.environ)
    subscription = bus.subscribe("t", "s")
    bus.publish("t", [Message(b"before")])
    [before] = subscription.pull(1, WAIT_S)
    subscription.acknowledge([before.ack_id])

    own_pubsub_emulator.kill()
    outages = 0
    end_s = time.monotonic() + ARRIVE_S_MAX
    while not outages and time.monotonic() < end_s:
        try:
            subscription.pull(1, 0.2)
        except Unavailable:
            outages += 1
    own_pubsub_emulator.start()
    got: list[Delivery] = []
    while not got and time.monotonic() < end_s:
        try:
            bus.publish("t", [Message(b"after")])
            got = subscription.pull(1, 1.0)
        except Unavailable:
            time.sleep(0.05)

    assert outages == 1
    assert [one.message.data for one in got] == [b"after"]
    bus.close()
