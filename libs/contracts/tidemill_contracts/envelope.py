"""Events as messages: CloudEvents 1.0 in binary mode, a JSON body, `ce-` attributes beside it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import ValidationError

from tidemill_contracts.bus import Message
from tidemill_contracts.errors import InvalidInput, Malformed
from tidemill_contracts.events import EVENTS, Event

SPEC_VERSION = "1.0"
_BY_TYPE = {event.type: event for event in EVENTS}
E = TypeVar("E", bound=Event)


def to_message(
    event: Event, *, source: str, attributes: Mapping[str, str] | None = None, ordering_key: str = ""
) -> Message:
    """The event as a message.

    source: which service says so, such as ``tidemill/persistor``.
    attributes: further text that consumers may filter by; never a `ce-` name.
    """
    envelope = {
        "ce-id": event.event_id,
        "ce-type": event.type,
        "ce-source": source,
        "ce-time": event.event_time.isoformat(),
        "ce-specversion": SPEC_VERSION,
        "content-type": "application/json",
    }
    body = event.model_dump_json(exclude_none=True).encode()
    return Message(data=body, attributes={**(attributes or {}), **envelope}, ordering_key=ordering_key)


def from_message(message: Message, expected: type[E]) -> E:
    """The event that a message carries, of the expected type.

    A producer who knows nothing of CloudEvents sends the JSON body alone: then the type is taken as expected,
    and the event's id is its own affair.

    Raises:
        Malformed: the body is not JSON.
        InvalidInput: it is JSON of another shape; `field` says where.
    """
    kind = message.attributes.get("ce-type", expected.type)
    if kind != expected.type:
        raise InvalidInput(f"expected an event of type {expected.type}, not {kind!r}", field="ce-type")
    try:
        event = expected.model_validate_json(message.data)
    except ValidationError as error:
        raise _explained(error) from error
    known: dict[str, object] = {}
    if "ce-id" in message.attributes:
        known["event_id"] = message.attributes["ce-id"]
    told = event_time(message.attributes)
    if told is not None:
        known["event_time"] = told
    # As `model_copy(update=known)` does, in a tenth of its time: the event is ours alone until we return it.
    event.__dict__.update(known)
    event.__pydantic_fields_set__.update(known)
    return event


def read_any(message: Message) -> Event:
    """The event that a message says it carries; raises as `from_message` does."""
    kind = message.attributes.get("ce-type", "")
    if kind not in _BY_TYPE:
        raise InvalidInput(f"no event of type {kind!r} is known here", field="ce-type")
    return from_message(message, _BY_TYPE[kind])


def event_time(attributes: Mapping[str, str]) -> datetime | None:
    """When a message's event came to pass, as its envelope says; in UTC where it names no zone.

    Raises:
        InvalidInput: what stands there is no time.
    """
    text = attributes.get("ce-time")
    if text is None:
        return None
    try:
        told = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"ce-time is not an RFC 3339 time: {text!r}", field="ce-time") from error
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def _explained(error: ValidationError) -> InvalidInput:
    """The first fault that pydantic found, as one sentence that names the field."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Malformed(f"not JSON: {first['msg'].removeprefix('Invalid JSON: ')}")
    field = field_path(first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    return InvalidInput(f"{field or 'body'}: {said}", field=field or None)


def field_path(location: tuple[int | str, ...]) -> str:
    """A pydantic location as people write it: ``samples[3].label``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path
