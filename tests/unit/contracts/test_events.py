"""Events, their envelope, schemas and examples."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from tidemill_contracts import catalogue
from tidemill_contracts.bus import Message
from tidemill_contracts.envelope import from_message, read_any, to_message
from tidemill_contracts.errors import InvalidInput, Malformed
from tidemill_contracts.events import EVENTS, Event, SamplesReceived
from tidemill_contracts.topics import load_topics

every_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
PLAIN = {"dataset": "digits", "samples": [{"label": 7, "image": "aGk="}]}


def example(event: type[Event]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((catalogue.EXAMPLES / f"{event.type}.json").read_text("utf-8"))
    return found


@every_event
def test_the_committed_schema_is_the_codes(event: type[Event]) -> None:
    assert catalogue.schema_path(event).read_text("utf-8") == catalogue.schema_text(event), (
        "run `make events`"
    )


def test_the_committed_page_is_the_codes() -> None:
    assert catalogue.PAGE.read_text("utf-8") == catalogue.page_text(), "run `make events`"


@every_event
def test_an_example_fits_its_schema(event: type[Event]) -> None:
    jsonschema.validate(example(event)["body"], catalogue.body_schema(event))


@every_event
def test_an_example_is_read_and_written_again_the_same(event: type[Event]) -> None:
    given = example(event)
    message = Message(json.dumps(given["body"]).encode(), given["attributes"])

    read = read_any(message)
    again = to_message(read, source=given["attributes"]["ce-source"])

    assert json.loads(again.data) == given["body"]
    assert again.attributes["ce-id"] == given["attributes"]["ce-id"]
    assert again.attributes["ce-time"] == given["attributes"]["ce-time"]


@every_event
def test_every_event_has_a_topic_that_names_it(event: type[Event]) -> None:
    assert event.type in load_topics()[event.topic].events


def test_plain_json_is_a_message_too() -> None:
    read = from_message(Message(json.dumps(PLAIN).encode()), SamplesReceived)

    assert read.dataset == "digits"
    assert read.split == "train"
    assert read.samples[0].label == "7"


@pytest.mark.parametrize(
    ("data", "kind", "field"),
    [
        (b"\xff\xfe", Malformed, None),
        (b"{", Malformed, None),
        (b"[]", InvalidInput, None),
        (b'{"dataset": "digits"}', InvalidInput, "samples"),
        (b'{"dataset": "digits", "samples": []}', InvalidInput, "samples"),
        (b'{"dataset": "../x", "samples": [{"label": "1", "text": "a"}]}', InvalidInput, "dataset"),
        (b'{"dataset": "d", "samples": [{"label": "", "text": "a"}]}', InvalidInput, "samples[0].label"),
        (b'{"dataset": "d", "samples": [{"label": "1"}]}', InvalidInput, "samples[0]"),
        (
            b'{"dataset": "d", "samples": [{"label": "1", "text": "a", "row": {"b": 1}}]}',
            InvalidInput,
            "samples[0]",
        ),
        (b'{"dataset": "d", "samples": [{"label": "1", "text": "a", "x": 1}]}', InvalidInput, "samples[0].x"),
        (b'{"dataset": "d", "count": 2, "samples": [{"label": "1", "text": "a"}]}', InvalidInput, None),
        (
            b'{"dataset": "d", "split": "valid", "samples": [{"label": "1", "text": "a"}]}',
            InvalidInput,
            "split",
        ),
    ],
)
def test_a_bad_message_is_refused_by_field(data: bytes, kind: type[InvalidInput], field: str | None) -> None:
    with pytest.raises(kind) as refused:
        from_message(Message(data), SamplesReceived)

    assert type(refused.value) is kind
    assert refused.value.field == field


def test_an_event_of_another_type_is_refused() -> None:
    message = Message(json.dumps(PLAIN).encode(), {"ce-type": "tidemill.batch.stored.v1"})

    with pytest.raises(InvalidInput, match="expected an event of type"):
        from_message(message, SamplesReceived)
