"""Messages as entries of a stream, and the server's errors in our classes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import redis
from tidemill_contracts.bus import Delivery, Message, made
from tidemill_contracts.errors import Overloaded, Unavailable

KEY_PREFIX = "tidemill:topic:"
PUBLISH_MESSAGES_MAX = 500
PUBLISH_BYTES_MAX = 4 * 2**20
"""A publish is cut into pipelines of at most this, so that neither side buffers without limit."""
OVERLOADED_RETRY_S = 5.0

NO_ATTRIBUTES = b"{}"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_decode = json.JSONDecoder().decode

Entry = tuple[bytes, dict[bytes, bytes]]
RawEntry = tuple[bytes, list[bytes]]
"""As the server sends it: names and values in turn."""


class NoGroup(Exception):
    """The consumer group is gone: the server lost its data."""


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except redis.ResponseError as error:
        said = str(error)
        if said.startswith("OOM") or "maxmemory" in said:
            raise Overloaded(
                "the bus is full: wait until consumers have caught up", retry_after_s=OVERLOADED_RETRY_S
            ) from error
        if said.startswith("NOGROUP"):
            raise NoGroup from error
        raise Unavailable(f"the bus refused: {said}") from error
    except (redis.RedisError, OSError) as error:
        raise Unavailable(f"the bus does not answer: {error}") from error


def stream_of(topic: str) -> str:
    return KEY_PREFIX + topic


def fields_of(message: Message) -> dict[Any, Any]:
    fields: dict[Any, Any] = {b"d": message.data, b"a": json.dumps(dict(message.attributes))}
    if message.ordering_key:
        fields[b"k"] = message.ordering_key
    return fields


def delivery_of(entry: bytes, fields: dict[bytes, bytes], attempt: int) -> Delivery:
    ident = entry.decode()
    key = fields[b"k"].decode("utf-8", "replace") if b"k" in fields else ""
    message = Message(fields.get(b"d", b""), _attributes(fields.get(b"a", NO_ATTRIBUTES)), key)
    published = datetime.fromtimestamp(int(ident.partition("-")[0]) / 1000, UTC)
    return Delivery(message, ident, ident, published, attempt)


def raw_entries(reply: Any, **_: Any) -> Any:
    """XREADGROUP's answer as the server sends it: the client's own form costs as much as reading it."""
    return reply


def is_plain(entry: RawEntry) -> bool:
    """Whether it is as `fields_of` makes it of a message without an ordering key."""
    fields = entry[1]
    return len(fields) == 4 and fields[0] == b"d" and fields[2] == b"a"


def entry_of(entry: RawEntry) -> Entry:
    ident, fields = entry
    return ident, dict(zip(fields[::2], fields[1::2], strict=True))


def deliveries_of(entries: Sequence[RawEntry]) -> list[Delivery]:
    """First deliveries of plain entries. Those of one millisecond share their time."""
    found: list[Delivery] = []
    before, published = "none", _EPOCH
    for entry, (_, data, _, attributes) in entries:
        ident = entry.decode()
        if not ident.startswith(before):
            milliseconds = ident.partition("-")[0]
            before, published = f"{milliseconds}-", datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
        message = made(Message, (data, {} if attributes == NO_ATTRIBUTES else _attributes(attributes), ""))
        found.append(made(Delivery, (message, ident, ident, published, 1)))
    return found


def _attributes(raw: bytes) -> dict[str, str]:
    """A stranger may have written the entry: whatever is not a map of text counts as none."""
    if raw == NO_ATTRIBUTES:
        return {}
    try:
        found = _decode(raw.decode())
    except (ValueError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def portions(messages: Sequence[Message]) -> Iterator[list[Message]]:
    part: list[Message] = []
    part_bytes = 0
    for message in messages:
        if part and (len(part) >= PUBLISH_MESSAGES_MAX or part_bytes + len(message.data) > PUBLISH_BYTES_MAX):
            yield part
            part, part_bytes = [], 0
        part.append(message)
        part_bytes += len(message.data)
    if part:
        yield part
