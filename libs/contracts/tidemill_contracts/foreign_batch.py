"""Reads batches that others wrote: Google's Cloud Storage subscriptions, and Syntio's Persistor.

| written by | form | what is kept |
|---|---|---|
| Cloud Storage subscription, Avro with metadata | the fields of our own batches | everything |
| Cloud Storage subscription, Avro | `data` | the payload |
| Cloud Storage subscription, text | a payload to a line | the payload |
| Syntio's Persistor (Dataphos), batches | Avro with `ID`, `Data`, `Metadata` | payload, id, attributes |
| Syntio's Persistor, single messages | the payload alone | the payload |

Sources: google.pubsub.v1 CloudStorageConfig (AvroConfig, TextConfig); dataphos/persistor,
persistor/internal/common/write_to_avro.go. What a writer left out is made from the object's name and time, so
that reading an object twice gives the same messages.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import fastavro

from tidemill_contracts.errors import Corrupt, InvalidInput
from tidemill_contracts.stored_batch import StoredMessage

AVRO_MAGIC = b"Obj\x01"
LINE_BYTES_MAX = 10 * 2**20
"""Pub/Sub takes no larger message, so no longer line was one."""
PUBLISH_TIMES = ("publish_time", "publishTime")
"""Names under which the metadata may tell when a message was published."""


@dataclass(frozen=True)
class Origin:
    """Where a foreign object lies and when it was written: in place of what its writer did not keep."""

    name: str
    written_at: datetime

    def message(self, position: int, data: bytes) -> StoredMessage:
        """A message of which only the payload was kept."""
        return StoredMessage("", f"{self.name}#{position}", self.written_at.astimezone(UTC), {}, data)


def read_foreign(data: bytes, origin: Origin) -> Iterator[StoredMessage]:
    """The messages of an object in any of the forms above, in order. Ours are read too.

    Raises:
        Corrupt: it begins as an Avro container and is no whole one.
        InvalidInput: an Avro container of something else than messages, or text with too long a line.
    """
    if not data.startswith(AVRO_MAGIC):
        yield from _lines(data, origin)
        return
    try:
        reader = fastavro.reader(io.BytesIO(data))
        read = _form(reader.writer_schema, origin)
        for position, record in enumerate(reader):
            yield read(position, record)
    except InvalidInput:
        raise
    except Exception as error:  # fastavro raises a dozen kinds for bytes that are not Avro
        raise Corrupt(f"{origin.name} is not a readable Avro container: {error!r}") from error


def read_single(data: bytes, origin: Origin) -> StoredMessage:
    """An object that is one message's payload, whatever is in it."""
    return origin.message(0, data)


class _Subscription:
    """What a Cloud Storage subscription wrote; every field but `data` may be missing."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def __call__(self, position: int, record: Mapping[str, Any]) -> StoredMessage:
        made = self._origin.message(position, record["data"] or b"")
        published = record.get("publish_time")
        return StoredMessage(
            subscription_name=record.get("subscription_name") or "",
            message_id=record.get("message_id") or made.message_id,
            publish_time=published.astimezone(UTC) if published else made.publish_time,
            attributes=record.get("attributes") or {},
            data=made.data,
        )


class _Persistor:
    """What Syntio's Persistor wrote. Ids are the broker's; times, where told, are text in the metadata."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def __call__(self, position: int, record: Mapping[str, Any]) -> StoredMessage:
        made = self._origin.message(position, record["Data"])
        attributes = dict(record["Metadata"])
        told = next((attributes[name] for name in PUBLISH_TIMES if name in attributes), "")
        return StoredMessage(
            subscription_name="",
            message_id=record["ID"] or made.message_id,
            publish_time=_time(told) or made.publish_time,
            attributes=attributes,
            data=made.data,
        )


def _form(schema: Any, origin: Origin) -> _Subscription | _Persistor:
    names = {field["name"] for field in schema.get("fields", [])} if isinstance(schema, dict) else set()
    if names >= {"ID", "Data", "Metadata"}:
        return _Persistor(origin)
    if "data" in names:
        return _Subscription(origin)
    found = ", ".join(sorted(names)) or "none"
    raise InvalidInput(
        f"{origin.name} holds records without the field data or Data (its fields: {found}): a subscription "
        f"that writes by its topic's schema keeps no payloads; switch `use_topic_schema` off"
    )


def _lines(data: bytes, origin: Origin) -> Iterator[StoredMessage]:
    position = 0
    for line in io.BytesIO(data):
        payload = line.rstrip(b"\r\n")
        if len(payload) > LINE_BYTES_MAX:
            raise InvalidInput(
                f"{origin.name} has a line of over {LINE_BYTES_MAX} bytes: it is no text of messages"
            )
        if payload:
            yield origin.message(position, payload)
            position += 1


def _time(text: str) -> datetime | None:
    """RFC 3339, or the same with a space; a time without a zone is in UTC. None for anything else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
