"""A bad sample never takes its neighbours along, and every reader leaves out the same ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tidemill_contracts.bus import (
    DEAD_MESSAGE_ID,
    DEAD_REASON,
    DEAD_SAMPLE,
    DEAD_SUBSCRIPTION,
    Delivery,
    Message,
)
from tidemill_contracts.dead_samples import ATTRIBUTES_MAX, REASON_BYTES_MAX, sample_letters
from tidemill_contracts.errors import InvalidInput, Malformed
from tidemill_contracts.identified import identified
from tidemill_contracts.readable import read_samples

GOOD = {"id": "a", "label": "7", "text": "one"}
OTHER = {"label": 8, "row": {"x": 1.5}}
BAD: tuple[dict[str, Any], ...] = (
    {"text": "no label"},
    {"label": "7"},
    {"label": "7", "text": "t", "row": {"x": 1}},
    {"label": "7", "text": "t", "weight": 2},
    {"label": "7", "image": ""},
    {"id": "../a", "label": "7", "text": "t"},
    {"label": "7", "row": {"x": [1]}},
)


def message(*samples: Any, **header: Any) -> Message:
    return Message(json.dumps({"dataset": "digits", **header, "samples": samples}).encode())


def delivery(sent: Message) -> Delivery:
    return Delivery(sent, "ack", "m-1", datetime(2026, 5, 4, tzinfo=UTC), 2)


@pytest.mark.parametrize("bad", BAD)
def test_the_neighbours_of_a_bad_sample_are_read_where_they_stand(bad: dict[str, Any]) -> None:
    found = read_samples(message(GOOD, bad, OTHER, split="test", source="book", count=3))

    assert [sample.label for sample in found.event.samples] == ["7", "8"]
    assert (found.event.dataset, found.event.split, found.event.source) == ("digits", "test", "book")
    assert found.positions == (0, 2)
    assert [(one.position, one.raw) for one in found.bad] == [(1, bad)]
    assert found.bad[0].reason.startswith("samples[1]")
    assert [each.position for each in identified(found.event, found.positions)] == [0, 2]


def test_a_sound_message_has_no_bad_samples() -> None:
    found = read_samples(message(GOOD, OTHER))

    assert (found.positions, found.bad) == ((0, 1), ())


@pytest.mark.parametrize(
    "wrong",
    [
        message(*BAD),
        message(GOOD, BAD[0], split="training"),
        message(GOOD, BAD[0], dataset="../etc"),
        message(GOOD, BAD[0], count=3),
        message(GOOD, BAD[0], count=1),
        message(GOOD, BAD[0], source=""),
        message(),
        Message(b'{"dataset":"digits","samples":{"0":1}}'),
        Message(b"[1]"),
        Message(message(GOOD, BAD[0]).data, {"ce-type": "tidemill.model.published.v1"}),
        Message(message(GOOD, BAD[0]).data, {"ce-time": "yesterday"}),
    ],
)
def test_a_message_that_is_wrong_elsewhere_is_refused_whole(wrong: Message) -> None:
    with pytest.raises(InvalidInput):
        read_samples(wrong)


def test_what_is_no_json_is_malformed() -> None:
    with pytest.raises(Malformed):
        read_samples(Message(message(GOOD, BAD[0]).data[:-1]))


def test_each_bad_sample_is_a_letter_that_could_be_sent_as_it_is_once_mended() -> None:
    sent = Message(
        message(BAD[0], GOOD, BAD[1], split="test", source="book").data,
        {"ce-id": "e", "ce-time": "2026-05-04T12:00:00Z", "count": "3", "colour": "blue"},
    )

    letters = sample_letters(delivery(sent), read_samples(sent), subscription="persistor")

    assert [json.loads(letter.data)["samples"] for letter in letters] == [[BAD[0]], [BAD[1]]]
    assert [letter.attributes[DEAD_SAMPLE] for letter in letters] == ["0", "2"]
    assert letters[0].attributes[DEAD_REASON] == "samples[0].label: Field required"
    first = letters[0].attributes
    assert (first[DEAD_MESSAGE_ID], first[DEAD_SUBSCRIPTION]) == ("m-1", "persistor")
    assert (first["ce-id"], first["count"], first["colour"]) == ("e.0", "1", "blue")
    body = json.loads(letters[0].data)
    body["samples"][0]["label"] = "7"
    mended = read_samples(Message(json.dumps(body).encode(), first))
    assert (mended.event.dataset, mended.event.split, mended.event.source) == ("digits", "test", "book")
    assert mended.bad == ()


def test_a_letter_stays_within_the_limits_of_every_bus() -> None:
    bad = {"label": "7", "text": "t", "ü" * 2000: 1}
    sent = Message(message(GOOD, bad).data, {f"a{number}": "v" for number in range(ATTRIBUTES_MAX)})

    [letter] = sample_letters(delivery(sent), read_samples(sent), subscription="persistor")

    assert len(letter.attributes) == ATTRIBUTES_MAX
    assert len(letter.attributes[DEAD_REASON].encode()) <= REASON_BYTES_MAX
    assert letter.attributes[DEAD_SAMPLE] == "1"
