"""A glance takes what the event takes, and refuses what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidemill_contracts.bus import Message
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.glance import Glance, Glancer

GOOD = {"id": "a", "label": "7", "text": "t"}
SCALARS = (
    None,
    True,
    0,
    7,
    -1,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "a",
    "a\0b",
    "A b",
    "7\n",
    "test",
)
OTHERS: tuple[Any, ...] = (
    "x" * 129,
    [],
    {},
    {"a": 1},
    {"a": [1]},
    {"": None},
    {"a": float("nan")},
    {"a": True, "b": "c"},
)
ODD: st.SearchStrategy[Any] = st.sampled_from([*SCALARS, *OTHERS])
SAMPLE = st.dictionaries(
    st.sampled_from(["id", "label", "image", "text", "row", "weight"]), ODD, max_size=5
).map(lambda odd: {**GOOD, **odd})
ROWS = st.dictionaries(st.sampled_from(["id", "label"]), ODD).map(
    lambda odd: {"label": 1, "row": {"a": 1}, **odd}
)
BODY = st.fixed_dictionaries(
    {"dataset": st.just("digits"), "samples": st.lists(st.one_of(SAMPLE, ROWS), max_size=3)},
    optional=dict.fromkeys(("split", "source", "count", "extra"), ODD),
)


def events(message: Message) -> Glance | None:
    """What the event itself says; None where it refuses."""
    try:
        event = from_message(message, SamplesReceived)
    except InvalidInput:
        return None
    return Glance(event.dataset, event.split, len(event.samples))


LOOK = Glancer().look


def glanced(message: Message) -> Glance | None:
    try:
        return LOOK(message)
    except InvalidInput:
        return None


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(BODY, ODD), min_size=1, max_size=4))
def test_a_glance_says_what_the_event_says(bodies: list[Any]) -> None:
    for body in bodies:
        message = Message(json.dumps(body).encode())
        assert glanced(message) == events(message)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"dataset":"d","samples":[{"label":"\\ud800","text":"t"}]}',
        b'{"dataset":"d","samples":[{"label":"a","text":"t"}],"samples":[]}',
        b'{"dataset":"d","samples":[{"label":"a","text":"t","text":1}]}',
        b'{"dataset":"d","samples":[{"label":"a\\n","text":"t"}]}',
        b'{"dataset":"d\\n","samples":[{"label":"a","text":"t"}]}',
        b'{"dataset":"d","samples":[{"label":"a","row":{"x":1e999}}]}',
        b'{"dataset":"d","samples":[{"label":"a","row":{"x":' + b"9" * 5000 + b"}}]}",
        b'{"dataset":"d","count":2,"samples":[{"label":"a","text":"t"}]}',
        b'{"dataset":"D!","dataset":"d","samples":[{"label":"a","text":"t"}]}',
        b'{"dataset":"d","dataset":"D!","samples":[{"label":"a","text":"t"}]}',
        b'{"dataset":"d","samples":[{"label":"","label":"a","text":"t"}]}',
        b'{"dataset":"d","samples":[{"label":"a","text":"t","id":"?","id":"b"}]}',
        b'{"dataset":"d","samples":[{"label":"a","row":{"x":[],"x":1}}]}',
        b'{"dataset":"d","samples":[{"label":"a","row":{"x":1},"id":"b\n"}]}',
        b'{"dataset":"d","samples":[{"label":"a","text":"t"}]} {}',
        b'\xef\xbb\xbf{"dataset":"d","samples":[{"label":"a","text":"t"}]}',
        b'{"dataset":"d","samples":[{"label":-0,"text":"t"}]}',
        b"[" * 100_000,
    ],
)
def test_hostile_bytes_are_taken_or_refused_alike(raw: bytes) -> None:
    assert glanced(Message(raw)) == events(Message(raw))


def test_an_envelope_of_another_type_is_refused() -> None:
    body = json.dumps({"dataset": "d", "samples": [GOOD]}).encode()

    with pytest.raises(InvalidInput, match="expected an event of type"):
        LOOK(Message(body, {"ce-type": "tidemill.batch.stored.v1"}))


def test_every_kind_of_content_is_known() -> None:
    contents: list[dict[str, object]] = [{"image": "eA=="}, {"text": ""}, {"row": {"a": None}}]

    for content in contents * 3:
        body = {"dataset": "d", "split": "test", "samples": [{"label": 3, **content}] * 2}
        assert LOOK(Message(json.dumps(body).encode())) == Glance("d", "test", 2)
