"""What the Pub/Sub adapter promises beyond the port: outages, missing resources, limits, waiting calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tidemill_chassis.adapters.pubsub_api import CHANNEL_OPTIONS, PubsubApi
from tidemill_chassis.adapters.pubsub_bus import PubsubBus
from tidemill_chassis.adapters.pubsub_messages import MESSAGE_BYTES_MAX
from tidemill_chassis.adapters.pubsub_names import PubsubNames
from tidemill_contracts.bus import DEAD_REASON, Bus, Delivery, Message
from tidemill_contracts.errors import InvalidInput, NotFound, TooLarge, Unavailable

WAIT_S = 20.0


@pytest.fixture
def as_service(pubsub_emulator: Any, pubsub_url: str) -> PubsubBus:
    """A bus that takes the emulator for the service: it makes nothing by itself."""
    channel = grpc.insecure_channel(pubsub_emulator.environ["PUBSUB_EMULATOR_HOST"], options=CHANNEL_OPTIONS)
    return PubsubBus(PubsubApi(channel, emulator=False), PubsubNames.from_url(pubsub_url))


def test_a_missing_topic_or_subscription_names_its_remedy(as_service: PubsubBus) -> None:
    with pytest.raises(Unavailable, match="tidemill provision"):
        as_service.publish("samples", [Message(b"x")])
    with pytest.raises(NotFound, match="tidemill provision"):
        as_service.subscribe("samples", "persistor")
    as_service.close()


def test_a_subscription_that_vanished_is_an_outage_that_names_its_remedy(
    as_service: PubsubBus, open_pubsub: Callable[[], Bus], pubsub_url: str
) -> None:
    from google.pubsub_v1 import types

    open_pubsub().subscribe("t", "s")
    subscription = as_service.subscribe("t", "s")
    path = PubsubNames.from_url(pubsub_url).subscription("t", "s")
    delete = as_service._api._channel.unary_unary("/google.pubsub.v1.Subscriber/DeleteSubscription")
    delete(types.DeleteSubscriptionRequest.pb()(subscription=path).SerializeToString())

    with pytest.raises(Unavailable, match="tidemill provision"):
        subscription.pull(1, WAIT_S)
    with pytest.raises(Unavailable, match="tidemill provision"):
        subscription.acknowledge(["an id"])
    as_service.close()


def test_large_messages_by_the_hundred_arrive(open_pubsub: Callable[[], Bus]) -> None:
    bus = open_pubsub()
    subscription = bus.subscribe("t", "s")
    bus.publish("t", [Message(bytes([n % 256]) * 60_000) for n in range(300)])

    got: list[Delivery] = []
    end_s = time.monotonic() + 20.0
    while len(got) < 300 and time.monotonic() < end_s:
        got += subscription.pull(100, 1.0)
        subscription.acknowledge([one.ack_id for one in got[-100:]])

    assert sum(len(one.message.data) for one in got) == 300 * 60_000


def test_a_message_that_comes_after_an_empty_pull_is_not_delayed(open_pubsub: Callable[[], Bus]) -> None:
    bus = open_pubsub()
    subscription = bus.subscribe("t", "s")

    for number in range(20):
        assert subscription.pull(10, 0.01) == []
        bus.publish("t", [Message(str(number).encode())])
        [delivery] = subscription.pull(10, WAIT_S)
        subscription.acknowledge([delivery.ack_id])

        assert (delivery.message.data, delivery.attempt) == (str(number).encode(), 1)


def test_what_a_closed_bus_had_pulled_ahead_comes_to_another(open_pubsub: Callable[[], Bus]) -> None:
    leaving, staying = open_pubsub(), open_pubsub()
    left = leaving.subscribe("t", "s", ack_deadline_s=600)
    assert left.pull(10, 0.01) == []
    staying.publish("t", [Message(b"1"), Message(b"2")])
    assert len(left.pull(1, WAIT_S)) == 1

    leaving.close()

    assert len(staying.subscribe("t", "s", ack_deadline_s=600).pull(10, WAIT_S)) == 1


def test_an_emulator_that_was_started_anew_is_furnished_again(
    own_pubsub_emulator: Any, pubsub_url: str
) -> None:
    bus = PubsubBus.from_url(pubsub_url, own_pubsub_emulator.environ)
    subscription = bus.subscribe("t", "s")

    own_pubsub_emulator.kill()
    with pytest.raises(Unavailable):
        bus.publish("t", [Message(b"while it is down")])
    with pytest.raises(Unavailable):
        subscription.pull(1, 0.1)
    own_pubsub_emulator.start()

    assert published_in_the_end(bus, subscription) == b"again"
    bus.close()


def published_in_the_end(bus: Bus, subscription: Any) -> bytes:
    """Publish and pull, over outages, until one message came through."""
    end_s = time.monotonic() + 30.0
    while time.monotonic() < end_s:
        try:
            bus.publish("t", [Message(b"again")])
            for delivery in subscription.pull(1, 1.0):
                return bytes(delivery.message.data)
        except Unavailable:
            time.sleep(0.05)
    return b""


def test_a_message_over_the_limit_is_refused(open_pubsub: Callable[[], Bus]) -> None:
    with pytest.raises(TooLarge):
        open_pubsub().publish("t", [Message(b"x" * (MESSAGE_BYTES_MAX + 1))])


def test_a_message_that_pubsub_never_takes_is_invalid(open_pubsub: Callable[[], Bus]) -> None:
    with pytest.raises(InvalidInput):
        open_pubsub().publish("t", [Message(b"")])


def test_an_attribute_that_is_not_text_is_invalid(open_pubsub: Callable[[], Bus]) -> None:
    with pytest.raises(InvalidInput, match="surrogate"):
        open_pubsub().publish("t", [Message(b"x", {"a": "\ud800"})])


def test_a_dead_letter_stays_within_the_limits(open_pubsub: Callable[[], Bus]) -> None:
    bus = open_pubsub()
    subscription, dead = bus.subscribe("t", "s"), bus.subscribe("t.dead", "look")
    bus.publish("t", [Message(b"x", {f"a{n}": "v" for n in range(99)})])
    [delivery] = subscription.pull(1, WAIT_S)

    subscription.dead_letter(delivery, "ü" * 2000)
    [letter] = dead.pull(1, WAIT_S)

    assert letter.message.attributes[DEAD_REASON] == "ü" * 512
    assert len(letter.message.attributes) == 100


def test_a_server_that_is_not_there_is_unavailable(free_port: int, pubsub_url: str) -> None:
    bus = PubsubBus.from_url(pubsub_url, {"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{free_port}"})

    with pytest.raises(Unavailable, match="does not answer"):
        bus.ping()
    bus.close()
