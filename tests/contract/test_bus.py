"""The bus port's specification: every adapter passes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_contracts.bus import (
    DEAD_ATTEMPTS,
    DEAD_REASON,
    DEAD_SUBSCRIPTION,
    AsksAhead,
    Bus,
    Delivery,
    Message,
)
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.memory_bus import MemoryBus

WAIT_S = 20.0
DEADLINES_S = {"memory": 0.3, "redis": 0.3, "pubsub": 1.0, "stream": 1.0}
"""The shortest that each adapter keeps exactly: Pub/Sub counts in whole seconds."""
TAKES_AHEAD = "a stream takes ahead, for one member, what is ready: the others share what comes later"


@pytest.fixture(params=["memory", "redis", "pubsub", "stream"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bus(kind: str, request: pytest.FixtureRequest) -> Iterator[Bus]:
    made: Bus
    if kind == "memory":
        made = MemoryBus()
    elif kind == "redis":
        made = RedisBus.from_url(request.getfixturevalue("redis_url"))
    else:
        made = request.getfixturevalue("open_pubsub")(streaming=kind == "stream")
    yield made
    made.close()


@pytest.fixture
def deadline_s(kind: str) -> float:
    return DEADLINES_S[kind]


def texts(deliveries: list[Delivery]) -> list[bytes]:
    return [delivery.message.data for delivery in deliveries]


def pull_until(pull: Callable[[], list[Delivery]], count: int) -> list[Delivery]:
    got: list[Delivery] = []
    end_s = time.monotonic() + WAIT_S
    while len(got) < count and time.monotonic() < end_s:
        got += pull()
    return got


def test_a_message_arrives_as_it_was_sent(bus: Bus) -> None:
    subscription = bus.subscribe("t", "s")
    sent = Message(data=b"\x00\xff raw", attributes={"ce-id": "1", "größe": "ü"}, ordering_key="k")

    [ident] = bus.publish("t", [sent])
    [delivery] = subscription.pull(10, WAIT_S)

    assert delivery.message == sent
    assert delivery.message_id == ident
    assert delivery.attempt == 1
    assert abs(delivery.publish_time.timestamp() - time.time()) < 60


def test_every_message_of_a_large_publish_arrives_under_an_id_of_its_own(bus: Bus) -> None:
    subscription = bus.subscribe("t", "s")

    ids = bus.publish("t", [Message(str(n).encode()) for n in range(2500)])
    got = pull_until(lambda: subscription.pull(500, 0.2), 2500)

    found = {one.message_id: one.message.data for one in got}
    assert found == {ident: str(n).encode() for n, ident in enumerate(ids)}
    assert len(found) == 2500


def test_what_is_asked_for_ahead_comes_once_with_later_pulls(bus: Bus) -> None:
    subscription = bus.subscribe("t", "s")
    if not isinstance(subscription, AsksAhead):
        pytest.skip("it hands out at once what it has")
    got: list[Delivery] = []

    def pull() -> list[Delivery]:
        subscription.ask(50)
        deliveries = subscription.pull(50, 0.2)
        subscription.ask(50)
        subscription.acknowledge([one.ack_id for one in deliveries])
        return deliveries

    subscription.ask(50)  # while there is nothing
    assert subscription.pull(50, 0.0) == []
    bus.publish("t", [Message(str(n).encode()) for n in range(300)])
    got = pull_until(pull, 300)

    assert sorted(texts(got)) == sorted(str(n).encode() for n in range(300))
    assert {one.attempt for one in got} == {1}


def test_messages_of_one_ordering_key_come_in_the_order_published(bus: Bus) -> None:
    subscription = bus.subscribe("t", "s")
    bus.publish("t", [Message(f"{key}{n}".encode(), ordering_key=key) for n in range(300) for key in "ab"])
    got: list[Delivery] = []

    def pull() -> list[Delivery]:
        deliveries = subscription.pull(50, 0.2)
        subscription.acknowledge([one.ack_id for one in deliveries])
        return deliveries

    got = pull_until(pull, 600)

    for key in "ab":
        of_key = [text for text in texts(got) if text.startswith(key.encode())]
        assert of_key == [f"{key}{n}".encode() for n in range(300)]


def test_a_key_is_with_one_member_at_a_time(bus: Bus, kind: str) -> None:
    if kind == "stream":
        pytest.skip(TAKES_AHEAD)
    first, second = bus.subscribe("t", "s"), bus.subscribe("t", "s")
    bus.publish("t", [Message(b"1", ordering_key="k"), Message(b"2", ordering_key="k"), Message(b"free")])
    [held] = first.pull(1, WAIT_S)

    assert texts(second.pull(10, 0.3)) == [b"free"]
    first.acknowledge([held.ack_id])
    assert texts(pull_until(lambda: second.pull(10, 0.2), 1)) == [b"2"]


def test_a_subscription_without_order_gives_all_of_a_key_at_once(bus: Bus) -> None:
    subscription = bus.subscribe("t", "s", ordered=False)
    bus.publish("t", [Message(str(n).encode(), ordering_key="k") for n in range(3)])

    held = [pull_until(lambda: subscription.pull(1, WAIT_S), 1)[0] for _ in range(3)]

    assert sorted(texts(held)) == [b"0", b"1", b"2"]


def test_what_is_given_back_comes_before_what_follows_it(bus: Bus, kind: str) -> None:
    if kind in {"pubsub", "stream"}:
        pytest.skip("the emulator delivers what follows first; Pub/Sub itself promises the order")
    subscription = bus.subscribe("t", "s")
    bus.publish("t", [Message(str(n).encode(), ordering_key="k") for n in range(3)])
    [held] = subscription.pull(1, WAIT_S)

    subscription.give_back([held.ack_id])
    [again] = subscription.pull(1, WAIT_S)

    assert texts([held, again]) == [b"0", b"0"]


def test_publishing_nothing_is_nothing(bus: Bus) -> None:
    assert bus.publish("t", []) == []


def test_a_new_subscription_sees_what_the_topic_still_holds(bus: Bus) -> None:
    bus.publish("t", [Message(b"before")])

    assert texts(bus.subscribe("t", "late").pull(10, WAIT_S)) == [b"before"]


def test_every_subscription_gets_every_message(bus: Bus) -> None:
    first, second = bus.subscribe("t", "one"), bus.subscribe("t", "two")
    bus.publish("t", [Message(b"x")])

    assert texts(first.pull(10, WAIT_S)) == texts(second.pull(10, WAIT_S)) == [b"x"]


def test_members_of_a_subscription_share_the_messages(bus: Bus, kind: str) -> None:
    if kind == "stream":
        pytest.skip(TAKES_AHEAD)
    first, second = bus.subscribe("t", "s"), bus.subscribe("t", "s")
    bus.publish("t", [Message(b"1"), Message(b"2")])

    got = texts(first.pull(1, WAIT_S)) + texts(second.pull(1, WAIT_S))

    assert sorted(got) == [b"1", b"2"]


def test_an_empty_pull_returns_after_its_wait(bus: Bus) -> None:
    subscription = bus.subscribe("t", "s")
    begun_s = time.monotonic()

    assert subscription.pull(10, 0.2) == []
    assert 0.15 < time.monotonic() - begun_s < WAIT_S


def test_what_is_acknowledged_never_comes_again(bus: Bus, deadline_s: float) -> None:
    subscription = bus.subscribe("t", "s", ack_deadline_s=deadline_s)
    bus.publish("t", [Message(b"x")])
    [delivery] = subscription.pull(10, WAIT_S)

    subscription.acknowledge([delivery.ack_id])
    subscription.acknowledge([delivery.ack_id])

    assert subscription.pull(10, 2 * deadline_s) == []


def test_what_is_not_acknowledged_comes_again_after_the_deadline(bus: Bus, deadline_s: float) -> None:
    subscription = bus.subscribe("t", "s", ack_deadline_s=deadline_s)
    bus.publish("t", [Message(b"x")])
    [first] = subscription.pull(10, WAIT_S)

    assert subscription.pull(10, deadline_s / 3) == []
    [again] = subscription.pull(10, WAIT_S)

    assert again.message_id == first.message_id
    assert again.attempt == 2


def test_an_extended_lease_holds(bus: Bus, deadline_s: float) -> None:
    subscription = bus.subscribe("t", "s", ack_deadline_s=deadline_s)
    bus.publish("t", [Message(b"x")])
    [delivery] = subscription.pull(10, WAIT_S)

    for _ in range(4):
        time.sleep(deadline_s / 2)  # real time is what is tested
        subscription.extend([delivery.ack_id])

    assert subscription.pull(10, deadline_s / 3) == []


def test_what_is_given_back_comes_again_at_once(bus: Bus) -> None:
    subscription = bus.subscribe("t", "s", ack_deadline_s=30)
    bus.publish("t", [Message(b"x")])
    [delivery] = subscription.pull(10, WAIT_S)

    subscription.give_back([delivery.ack_id])
    [again] = subscription.pull(10, WAIT_S)

    assert (again.message_id, again.attempt) == (delivery.message_id, 2)


def test_what_is_given_back_with_a_delay_waits(bus: Bus) -> None:
    subscription = bus.subscribe("t", "s", ack_deadline_s=30)
    bus.publish("t", [Message(b"x")])
    [delivery] = subscription.pull(10, WAIT_S)

    subscription.give_back([delivery.ack_id], delay_s=0.4)

    assert subscription.pull(10, 0.1) == []
    assert len(pull_until(lambda: subscription.pull(10, 0.2), 1)) == 1


def test_a_message_that_never_succeeds_ends_as_a_dead_letter(bus: Bus) -> None:
    subscription = bus.subscribe("t", "s", attempts_max=2)
    dead = bus.subscribe("t.dead", "look")
    bus.publish("t", [Message(b"poison", {"a": "b"})])
    for _ in range(2):
        [delivery] = subscription.pull(10, WAIT_S)
        subscription.give_back([delivery.ack_id])

    def pull() -> list[Delivery]:
        assert subscription.pull(10, 0.1) == []
        return dead.pull(10, 0.1)

    [letter] = pull_until(pull, 1)

    assert letter.message.data == b"poison"
    assert letter.message.attributes["a"] == "b"
    assert "2 times" in letter.message.attributes[DEAD_REASON]


def test_a_dead_letter_says_why_and_whence(bus: Bus, deadline_s: float) -> None:
    subscription = bus.subscribe("t", "s", ack_deadline_s=deadline_s)
    dead = bus.subscribe("t.dead", "look")
    bus.publish("t", [Message(b"poison")])
    [delivery] = subscription.pull(10, WAIT_S)

    subscription.dead_letter(delivery, "not JSON")
    [letter] = dead.pull(10, WAIT_S)

    assert letter.message.attributes[DEAD_REASON] == "not JSON"
    assert letter.message.attributes[DEAD_SUBSCRIPTION] == "s"
    assert letter.message.attributes[DEAD_ATTEMPTS] == "1"
    assert subscription.pull(10, 2 * deadline_s) == []


def test_the_backlog_counts_what_waits_and_what_is_leased(bus: Bus, kind: str) -> None:
    if kind in {"pubsub", "stream"}:
        with pytest.raises(Unavailable, match="num_undelivered_messages"):
            bus.subscribe("t", "s").backlog()
        return
    subscription = bus.subscribe("t", "s")
    bus.publish("t", [Message(b"1"), Message(b"2"), Message(b"3")])
    subscription.pull(1, WAIT_S)

    backlog = subscription.backlog()

    assert (backlog.waiting, backlog.leased) == (2, 1)


def test_a_large_message_arrives_whole(bus: Bus) -> None:
    subscription = bus.subscribe("t", "s")
    large = bytes(range(256)) * 37_000

    bus.publish("t", [Message(large)])

    assert texts(subscription.pull(1, WAIT_S)) == [large]
