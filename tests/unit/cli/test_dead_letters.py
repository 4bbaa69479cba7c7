"""Dead letters stay until they are sent again or dropped."""

from __future__ import annotations

import json

import pytest
from tidemill.commands.dead import PREVIEW_BYTES_MAX, preview
from tidemill.dead_letters import DeadLetters
from tidemill_contracts.bus import Message
from tidemill_contracts.dead_samples import sample_letters
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import NotFound
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.readable import read_samples

ATTRIBUTES = {"ce-id": "7", "colour": "blue"}


def open_letters(bus: MemoryBus) -> DeadLetters:
    return DeadLetters(bus, "samples", pull_wait_s=0.0)


@pytest.fixture
def bus() -> MemoryBus:
    """A bus on which three messages were put aside by the persistor, for reasons of their own."""
    made = MemoryBus()
    made.publish("samples", [Message(f"body {n}".encode(), ATTRIBUTES) for n in range(3)])
    reader = made.subscribe("samples", "persistor")
    for delivery in reader.pull(10, 0):
        reader.dead_letter(delivery, f"reason {delivery.message_id}")
    return made


def test_a_look_shows_reason_and_origin_and_takes_nothing_away(bus: MemoryBus) -> None:
    letters = open_letters(bus)

    first, second = letters.list(), letters.list()

    assert [(letter.reason, letter.original_id) for letter in first] == [
        ("reason 1", "1"),
        ("reason 2", "2"),
        ("reason 3", "3"),
    ]
    assert [letter.attributes for letter in first] == [ATTRIBUTES] * 3
    assert second == first


def test_a_bad_sample_is_mended_and_sent_again_alone() -> None:
    bus = MemoryBus()
    rows = [{"label": "7", "text": "good"}, {"text": "no label"}]
    body = {"dataset": "digits", "split": "test", "samples": rows}
    bus.publish("samples", [Message(json.dumps(body).encode(), {"ce-id": "e"})])
    [delivery] = bus.subscribe("samples", "persistor").pull(1, 0)
    found = read_samples(delivery.message)
    bus.publish("samples.dead", sample_letters(delivery, found, subscription="persistor"))
    letters = open_letters(bus)

    [letter] = letters.list()
    mended = json.loads(letters.get(letter.id)[1])
    mended["samples"][0]["label"] = "8"
    letters.retry([letter.id], json.dumps(mended).encode())

    assert (letter.sample, letter.reason) == ("1", "samples[1].label: Field required")
    again = bus.published("samples")[-1]
    event = from_message(again, SamplesReceived)
    assert (event.dataset, event.split, event.event_id) == ("digits", "test", "e.1")
    assert [(sample.label, sample.text) for sample in event.samples] == [("8", "no label")]
    assert letters.list() == []


def test_a_hundred_looks_bury_no_letter_a_second_time(bus: MemoryBus) -> None:
    letters = open_letters(bus)

    for _ in range(100):
        letters.list()

    assert len(letters.list()) == 3
    assert bus.published("samples.dead.dead") == []


def test_a_list_shows_no_more_than_it_is_asked_for(bus: MemoryBus) -> None:
    letters = open_letters(bus)

    assert len(letters.list(2)) == 2
    assert len(letters.list()) == 3


def test_a_letter_sent_again_is_the_original_message(bus: MemoryBus) -> None:
    letters = open_letters(bus)

    count = letters.retry(["2"])

    assert count == 1
    assert bus.published("samples")[3:] == [Message(b"body 1", ATTRIBUTES)]
    assert [letter.id for letter in letters.list()] == ["1", "3"]


def test_a_letter_may_be_sent_again_with_a_mended_body(bus: MemoryBus) -> None:
    open_letters(bus).retry(["1"], b"mended")

    assert bus.published("samples")[3:] == [Message(b"mended", ATTRIBUTES)]


def test_what_is_dropped_is_gone(bus: MemoryBus) -> None:
    letters = open_letters(bus)

    letters.drop(["1", "3"])

    assert [letter.id for letter in letters.list()] == ["2"]
    assert len(bus.published("samples")) == 3


def test_all_are_sent_again_at_once(bus: MemoryBus) -> None:
    letters = open_letters(bus)

    assert letters.retry(None) == 3
    assert letters.list() == []
    assert [message.data for message in bus.published("samples")[3:]] == [b"body 0", b"body 1", b"body 2"]


def test_an_unknown_id_is_said_and_every_letter_stays(bus: MemoryBus) -> None:
    letters = open_letters(bus)

    with pytest.raises(NotFound, match="no dead letter 99"):
        letters.get("99")

    assert len(letters.list()) == 3


def test_a_letter_stays_when_it_cannot_be_sent(bus: MemoryBus) -> None:
    letters = open_letters(bus)
    publish, bus.publish = bus.publish, _refuse  # type: ignore[method-assign]

    with pytest.raises(NotFound):
        letters.retry(["1"])
    bus.publish = publish  # type: ignore[method-assign]

    assert len(letters.list()) == 3


def _refuse(topic: str, messages: object) -> list[str]:
    raise NotFound(f"there is no topic {topic}")


def test_a_preview_is_short_and_harmless() -> None:
    shown = preview(b"\x1b[2Jboo" + b"x" * 1000)

    assert "\x1b" not in shown
    assert len(shown) < PREVIEW_BYTES_MAX + 40
    assert shown.endswith("bytes more")
