"""What happens to messages between the topic and the store."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.bus import DEAD_REASON, DEAD_SAMPLE, Backlog, Message
from tidemill_contracts.envelope import from_message, to_message
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.events import BatchStored, ModelRefused
from tidemill_persistor.batching import BatchLimits, HandLimits

MakeMessage = Callable[..., Message]
DONE = Backlog(waiting=0, leased=0)


def test_messages_are_acknowledged_after_they_are_stored_and_announced(
    rig: Any, make_message: MakeMessage
) -> None:
    rig.bus.publish("samples", [make_message(str(n)) for n in range(7)])

    rig.settle()

    assert len(rig.stored()) == 7
    assert len(rig.bus.published("batches")) == 3
    assert rig.subscription.backlog() == DONE


def mixed_message() -> Message:
    samples = [
        {"label": "good", "text": "first"},
        {"text": "without a label"},
        {"label": "bad", "text": "last"},
    ]
    return Message(json.dumps({"dataset": "reviews", "samples": samples}).encode())


def test_a_bad_sample_is_put_aside_alone_and_its_message_is_kept_unchanged(rig: Any) -> None:
    rig.bus.publish("samples", [mixed_message()])

    rig.settle()

    [kept] = rig.stored()
    assert kept.data == mixed_message().data
    [batch] = [from_message(each, BatchStored) for each in rig.bus.published("batches")]
    assert (batch.message_count, batch.sample_count) == (1, 2)
    [letter] = rig.bus.published("samples.dead")
    assert json.loads(letter.data)["samples"] == [{"text": "without a label"}]
    assert letter.attributes[DEAD_SAMPLE] == "1"
    assert letter.attributes[DEAD_REASON] == "samples[1].label: Field required"
    assert rig.subscription.backlog() == DONE


def test_with_the_dead_letters_down_a_mixed_message_waits_and_the_others_are_kept(
    rig: Any, make_message: MakeMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, down = rig.bus.publish, [True]

    def publish_or_not(topic: str, messages: Any) -> Any:
        if down[0] and topic.endswith(".dead"):
            raise Unavailable("the dead-letter topic does not answer")
        return publish(topic, messages)

    monkeypatch.setattr(rig.bus, "publish", publish_or_not)
    rig.bus.publish("samples", [make_message("1"), mixed_message(), make_message("2")])
    rig.settle()
    before = (len(rig.stored()), rig.subscription.backlog())

    down[0] = False
    rig.clock.now_s += 60.0
    rig.settle()

    assert before == (2, Backlog(waiting=0, leased=1))
    assert len(rig.stored()) == 3
    assert len(rig.bus.published("samples.dead")) == 1
    assert rig.subscription.backlog() == DONE


def test_nothing_is_acknowledged_while_the_store_is_down(rig: Any, make_message: MakeMessage) -> None:
    rig.bus.publish("samples", [make_message(str(n)) for n in range(3)])
    rig.store.failing = True
    rig.worker.turn()

    with pytest.raises(Unavailable):
        rig.worker.turn()

    assert rig.subscription.backlog() == Backlog(waiting=0, leased=3)
    assert rig.bus.published("batches") == []


def test_nothing_more_is_pulled_while_the_store_is_down(rig: Any, make_message: MakeMessage) -> None:
    rig.bus.publish("samples", [make_message(str(n)) for n in range(30)])
    rig.store.failing = True
    rig.worker.turn()

    for _ in range(5):
        with pytest.raises(Unavailable):
            rig.worker.turn()

    assert rig.subscription.backlog().leased <= 12


def test_an_outage_ends_in_the_store_and_not_among_dead_letters(rig: Any, make_message: MakeMessage) -> None:
    rig.bus.publish("samples", [make_message(str(n)) for n in range(7)])
    rig.store.failing = True
    rig.worker.turn()
    for _ in range(200):
        rig.clock.now_s += 20.0
        rig.leases.extend()
        with pytest.raises(Unavailable):
            rig.worker.turn()
    rig.store.failing = False

    rig.settle()

    assert sorted(message.message_id for message in rig.stored()) == sorted("1234567")
    assert rig.bus.published("samples.dead") == []
    assert rig.subscription.backlog() == DONE


def test_a_bus_that_stops_between_store_and_announcement_loses_nothing(
    rig: Any, make_message: MakeMessage
) -> None:
    rig.bus.publish("samples", [make_message(str(n)) for n in range(3)])
    rig.worker.turn()
    rig.bus.failing = True
    with pytest.raises(Unavailable):
        rig.worker.turn()
    rig.bus.failing = False

    rig.worker.turn()

    assert len(list(rig.store.list("samples/"))) == 1
    assert len(rig.bus.published("batches")) == 1
    assert rig.subscription.backlog() == DONE


def test_a_worker_killed_before_it_acknowledges_loses_nothing(rig: Any, make_message: MakeMessage) -> None:
    rig.bus.publish("samples", [make_message(str(n)) for n in range(5)])
    rig.worker.turn()
    rig.restart()
    rig.clock.now_s += 31.0

    rig.settle()

    assert sorted(message.message_id for message in rig.stored()) == sorted("12345")
    assert rig.subscription.backlog() == DONE


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (Message(b""), "not JSON"),
        (Message(b"\xff\xfe\x00"), "not JSON"),
        (Message(b'{"dataset":"x"'), "not JSON"),
        (Message(b"[]"), "body:"),
        (Message(b'{"samples":[{"label":"a","text":"b"}]}'), "dataset:"),
        (Message(b'{"dataset":"../etc","samples":[{"label":"a","text":"b"}]}'), "dataset:"),
        (Message(b'{"dataset":"d","split":"both","samples":[{"label":"a","text":"b"}]}'), "split:"),
        (Message(b'{"dataset":"d","samples":[]}'), "samples:"),
        (Message(b'{"dataset":"d","samples":[{"label":"a"}]}'), "samples[0]:"),
        (Message(b'{"dataset":"d","samples":[{"label":"a","text":"b"}]}', {"k": "\ud800"}), "surrogate"),
        (Message(b'{"dataset":"d","samples":[{"label":"a","text":"b"}]}', {"ce-time": "now"}), "ce-time"),
        (to_message(ModelRefused(model="m", version=1, reason="r"), source="s"), "tidemill.model.refused.v1"),
    ],
)
def test_a_message_that_no_reader_could_read_is_put_aside_with_the_reason(
    rig: Any, make_message: MakeMessage, message: Message, said: str
) -> None:
    rig.bus.publish("samples", [make_message("before"), message, make_message("after")])

    rig.settle()

    (letter,) = rig.bus.published("samples.dead")
    assert said in letter.attributes[DEAD_REASON]
    assert letter.data == message.data
    assert len(rig.stored()) == 2
    assert rig.subscription.backlog() == DONE


def test_memory_in_hand_stays_near_its_limit_whatever_the_backlog(
    make_rig: Callable[..., Any], make_message: MakeMessage
) -> None:
    rig = make_rig(
        batch=BatchLimits(messages_max=100, size_bytes_max=10**5, age_s_max=9.0),
        hand_limits=HandLimits(messages_max=500, size_bytes_max=3 * 10**5),
    )
    rig.bus.publish("samples", [make_message("x" * 20_000) for _ in range(100)])
    most = 0

    while len(rig.stored()) < 96:
        rig.worker.turn()
        most = max(most, rig.hand.size_bytes)

    assert most < 3.3 * 10**5


def test_a_stop_stores_what_is_in_hand(rig: Any, make_message: MakeMessage) -> None:
    rig.bus.publish("samples", [make_message("a"), make_message("b")])
    rig.worker.turn()

    rig.worker.flush()

    assert len(rig.stored()) == 2
    assert rig.subscription.backlog() == DONE


def test_a_stop_while_the_store_is_down_gives_everything_back(rig: Any, make_message: MakeMessage) -> None:
    rig.bus.publish("samples", [make_message("a"), make_message("b", dataset="other")])
    rig.worker.turn()
    rig.store.failing = True

    rig.worker.flush()

    again = rig.subscription.pull(10, wait_s=0)
    assert [delivery.attempt for delivery in again] == [2, 2]
    assert rig.hand.message_count == 0


def test_a_running_worker_stops_when_told(rig: Any, make_message: MakeMessage) -> None:
    stop = Stop()
    thread = threading.Thread(target=rig.worker.run, args=(stop,))
    thread.start()
    rig.bus.publish("samples", [make_message("a")])

    stop.set()
    thread.join(5.0)

    assert not thread.is_alive()


def test_an_outage_is_told_once_and_its_end_once(
    rig: Any, make_message: MakeMessage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    error = Unavailable("the disk is full: free some space")

    for _ in range(5):
        rig.worker.outage.pause_s(error)
    during = rig.worker.outage.reason
    rig.worker.turn()

    assert during == "the disk is full: free some space"
    assert [record.message for record in caplog.records] == ["outage_began", "outage_ended"]
    assert rig.worker.outage.reason == ""
