"""What the Redis adapter promises beyond the port: trimming, outages, a full server."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from tidemill_chassis.adapters import redis_entries, redis_subscription
from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_contracts.bus import Message
from tidemill_contracts.errors import Overloaded, Unavailable

from tests.emulators.machine import wait_until

WAIT_S = 20.0


def stream_length(url: str, topic: str) -> int:
    client = redis.Redis.from_url(url)
    try:
        return int(client.xlen(redis_entries.KEY_PREFIX + topic))
    finally:
        client.close()


def test_what_every_group_acknowledged_is_forgotten(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_subscription, "TRIM_EVERY_S", 0.0)
    bus = RedisBus.from_url(redis_url)
    subscription = bus.subscribe("t", "s")
    bus.publish("t", [Message(b"x" * 100)] * 2000)

    for _ in range(4):
        subscription.acknowledge([one.ack_id for one in subscription.pull(500, WAIT_S)])

    assert stream_length(redis_url, "t") < 300
    bus.close()


def test_what_was_asked_for_ahead_and_never_pulled_is_given_back_at_the_end(redis_url: str) -> None:
    leaving, staying = RedisBus.from_url(redis_url), RedisBus.from_url(redis_url)
    first, second = (bus.subscribe("t", "s", ack_deadline_s=600) for bus in (leaving, staying))
    staying.publish("t", [Message(b"x")] * 5)
    first.ask(5)
    wait_until(lambda: second.backlog().leased == 5)

    leaving.close()

    assert [one.attempt for one in second.pull(5, WAIT_S)] == [2] * 5
    staying.close()


def test_trimming_never_touches_what_one_group_still_has_to_do(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_subscription, "TRIM_EVERY_S", 0.0)
    bus = RedisBus.from_url(redis_url)
    slow, quick = bus.subscribe("t", "slow"), bus.subscribe("t", "quick")
    bus.publish("t", [Message(b"x" * 100)] * 1000)
    slow.pull(1, WAIT_S)

    for _ in range(2):
        quick.acknowledge([one.ack_id for one in quick.pull(500, WAIT_S)])

    assert len(slow.pull(1000, WAIT_S)) == 999
    assert slow.backlog().leased == 1000
    bus.close()


def test_a_killed_server_loses_nothing_that_it_confirmed(redis_server: Any) -> None:
    server = redis_server
    bus = RedisBus.from_url(server.url)
    subscription = bus.subscribe("t", "s")
    ids = bus.publish("t", [Message(str(n).encode()) for n in range(500)])

    server.kill()
    with pytest.raises(Unavailable):
        bus.publish("t", [Message(b"while it is down")])
    with pytest.raises(Unavailable):
        subscription.pull(1, 0.1)
    server.start()

    assert [one.message_id for one in subscription.pull(1000, WAIT_S)] == ids
    bus.close()


def test_a_full_server_refuses_the_publisher_and_keeps_what_it_has(redis_url: str) -> None:
    bus = RedisBus.from_url(redis_url)
    subscription = bus.subscribe("t", "s")
    bus.publish("t", [Message(b"kept")])
    client = redis.Redis.from_url(redis_url)
    before = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(Overloaded) as refused:
            bus.publish("t", [Message(b"x" * 1_000_000)] * 8)
    finally:
        client.config_set("maxmemory", str(before))

    assert refused.value.retry_after_s
    assert subscription.pull(1, WAIT_S)[0].message.data == b"kept"
    client.close()
    bus.close()


def test_an_entry_of_a_stranger_does_no_harm(redis_url: str) -> None:
    bus = RedisBus.from_url(redis_url)
    subscription = bus.subscribe("t", "s")
    client = redis.Redis.from_url(redis_url)
    client.xadd(redis_entries.KEY_PREFIX + "t", {"other": "field", "a": "[1"})
    client.close()

    [delivery] = subscription.pull(1, WAIT_S)

    assert delivery.message == Message(b"", {})
    bus.close()


def test_a_stream_that_vanished_is_made_anew(redis_url: str) -> None:
    bus = RedisBus.from_url(redis_url)
    subscription = bus.subscribe("t", "s")
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    client.close()

    with pytest.raises(Unavailable):
        subscription.pull(1, 0.1)
    bus.publish("t", [Message(b"x")])

    assert len(subscription.pull(1, WAIT_S)) == 1
    bus.close()


def test_an_expired_lease_is_found_behind_many_that_hold(redis_url: str) -> None:
    bus = RedisBus.from_url(redis_url)
    subscription = bus.subscribe("t", "s", ack_deadline_s=30)
    bus.publish("t", [Message(str(n).encode()) for n in range(3000)])
    held = subscription.pull(3000, WAIT_S)

    subscription.give_back([held[-1].ack_id])
    found = [delivery for _ in range(20) for delivery in subscription.pull(20, 0.01)]

    assert [delivery.message.data for delivery in found] == [b"2999"]
    bus.close()


def test_what_waits_for_its_key_is_not_counted_as_delivered(redis_url: str) -> None:
    bus = RedisBus.from_url(redis_url)
    first, second = (bus.subscribe("t", "s", ack_deadline_s=0.3, attempts_max=2) for _ in range(2))
    bus.publish("t", [Message(b"1", ordering_key="k"), Message(b"2", ordering_key="k")])
    [held] = first.pull(1, WAIT_S)

    for _ in range(8):
        assert second.pull(10, 0.1) == []
        first.extend([held.ack_id])
    first.acknowledge([held.ack_id])
    [follower] = second.pull(10, WAIT_S)

    assert (follower.message.data, follower.attempt) == (b"2", 1)
    bus.close()


def test_consumers_that_died_are_forgotten_once_they_hold_nothing(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_subscription, "TRIM_EVERY_S", 0.0)
    monkeypatch.setattr(redis_subscription, "CONSUMER_IDLE_S_MAX", 0.2)
    dead, living = RedisBus.from_url(redis_url), RedisBus.from_url(redis_url)
    of_dead, of_living = (bus.subscribe("t", "s", ack_deadline_s=0.4) for bus in (dead, living))
    dead.publish("t", [Message(b"1"), Message(b"2")])
    of_dead.pull(1, WAIT_S)

    of_living.acknowledge([one.ack_id for one in of_living.pull(1, WAIT_S)])
    before = consumer_count(redis_url)
    [again] = of_living.pull(1, WAIT_S)
    of_living.acknowledge([again.ack_id])

    assert (before, again.attempt, consumer_count(redis_url)) == (2, 2, 1)
    living.close()
    assert consumer_count(redis_url) == 0


def consumer_count(url: str) -> int:
    client = redis.Redis.from_url(url)
    try:
        return len(client.xinfo_consumers(redis_entries.KEY_PREFIX + "t", "s"))
    finally:
        client.close()


def test_a_letter_that_is_refused_leaves_its_message_unacknowledged(redis_url: str) -> None:
    bus, client = RedisBus.from_url(redis_url), redis.Redis.from_url(redis_url)
    subscription = bus.subscribe("t", "s", ack_deadline_s=0.2)
    bus.publish("t", [Message(b"poison")])
    [delivery] = subscription.pull(1, WAIT_S)
    client.set(redis_entries.stream_of("t.dead"), "not a stream")

    with pytest.raises(Unavailable, match="refused"):
        subscription.dead_letter(delivery, "unreadable")

    assert subscription.backlog().leased == 1
    assert [one.message.data for one in subscription.pull(1, WAIT_S)] == [b"poison"]
    client.close()
    bus.close()
