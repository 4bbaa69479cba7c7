"""Messages as Pub/Sub carries them: converted, cut into requests, kept within its limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from google.pubsub_v1 import types
from tidemill_contracts.bus import (
    DEAD_ATTEMPTS,
    DEAD_MESSAGE_ID,
    DEAD_REASON,
    DEAD_SUBSCRIPTION,
    Delivery,
    Message,
    made,
)
from tidemill_contracts.errors import InvalidInput, TooLarge
from tidemill_contracts.memory_bus import dead_letter_of

PUBLISH_MESSAGES_MAX = 1000
PUBLISH_BYTES_MAX = 9_500_000
MESSAGE_BYTES_MAX = 10_000_000
"""Pub/Sub's own limits: 1,000 messages and 10 MB a request, 10 MB a message."""
REQUEST_IDS_MAX = 2_500
REQUEST_IDS_BYTES_MAX = 400_000
"""An acknowledgement may have 512 KiB; its ids have 150 to 220 bytes each."""
ATTRIBUTES_MAX = 100
ATTRIBUTE_BYTES_MAX = 1024
_ORIGIN = (DEAD_REASON, DEAD_SUBSCRIPTION, DEAD_MESSAGE_ID, DEAD_ATTEMPTS)
_SOURCE = "CloudPubSubDeadLetterSource"
_SOURCE_SUBSCRIPTION = f"{_SOURCE}Subscription"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_PubsubMessage: Any = types.PubsubMessage.pb()


def wire_message(message: Message) -> Any:
    """The message in Pub/Sub's form.

    Raises:
        TooLarge: it is over MESSAGE_BYTES_MAX.
        InvalidInput: an attribute or the ordering key is not text.
    """
    try:
        wired = _PubsubMessage(
            data=message.data, attributes=dict(message.attributes), ordering_key=message.ordering_key
        )
    except (UnicodeError, ValueError) as error:
        raise InvalidInput("an attribute is not text: it holds half a surrogate pair") from error
    if wired.ByteSize() > MESSAGE_BYTES_MAX:
        raise TooLarge(f"a message of {wired.ByteSize()} bytes: Pub/Sub takes {MESSAGE_BYTES_MAX}")
    return wired


def portions(wired: Sequence[Any]) -> Iterator[list[int]]:
    """Positions of the messages of each request to send, in order: one ordering key a request."""
    by_key: dict[str, list[int]] = {}
    for position, message in enumerate(wired):
        by_key.setdefault(message.ordering_key, []).append(position)
    for positions in by_key.values():
        part: list[int] = []
        part_bytes = 0
        for position in positions:
            size = wired[position].ByteSize()
            if part and (len(part) >= PUBLISH_MESSAGES_MAX or part_bytes + size > PUBLISH_BYTES_MAX):
                yield part
                part, part_bytes = [], 0
            part.append(position)
            part_bytes += size
        yield part


def id_portions(ack_ids: Sequence[str]) -> Iterator[list[str]]:
    """The ids in lists short enough for one request."""
    part: list[str] = []
    part_bytes = 0
    for ack_id in ack_ids:
        if part and (len(part) >= REQUEST_IDS_MAX or part_bytes + len(ack_id) > REQUEST_IDS_BYTES_MAX):
            yield part
            part, part_bytes = [], 0
        part.append(ack_id)
        part_bytes += len(ack_id) + 4
    if part:
        yield part


def deliveries_of(received: Iterable[Any]) -> list[Delivery]:
    """What was pulled, as deliveries. Pub/Sub counts attempts only beside a dead-letter policy: else 1.

    Messages of one publish share their time: to convert it is a third of a delivery's cost.
    """
    found: list[Delivery] = []
    before, published = (0, 0), EPOCH
    for each in received:
        wired = each.message
        stamp = wired.publish_time
        when = (stamp.seconds, stamp.nanos)
        if when != before:
            before, published = when, stamp.ToDatetime(UTC)
        attributes = wired.attributes
        told = _attributes(attributes) if attributes else {}
        message = made(Message, (wired.data, told, wired.ordering_key))
        fields = (message, each.ack_id, wired.message_id, published, each.delivery_attempt or 1)
        found.append(made(Delivery, fields))
    return found


def _attributes(found: Mapping[str, str]) -> dict[str, str]:
    """The attributes; for a dead letter that Pub/Sub itself put aside, with our names for its reason."""
    attributes = dict(found)
    if _SOURCE_SUBSCRIPTION in attributes and DEAD_REASON not in attributes:
        count = attributes.get(f"{_SOURCE}DeliveryCount", "?")
        attributes[DEAD_REASON] = f"delivered {count} times without success"
        attributes[DEAD_SUBSCRIPTION] = attributes[_SOURCE_SUBSCRIPTION].rpartition(".")[2]
        attributes[DEAD_ATTEMPTS] = count
    return attributes


def dead_letter(delivery: Delivery, *, subscription: str, reason: str) -> Message:
    """The dead letter within Pub/Sub's limits: a long reason is cut, attributes over the hundredth go."""
    letter = dead_letter_of(delivery, subscription=subscription, reason=reason)
    origin = {name: _cut(letter.attributes[name]) for name in _ORIGIN}
    own = [pair for pair in letter.attributes.items() if pair[0] not in origin]
    return letter._replace(attributes={**dict(own[: ATTRIBUTES_MAX - len(origin)]), **origin})


def _cut(text: str) -> str:
    return text.encode("utf-8", "replace")[:ATTRIBUTE_BYTES_MAX].decode("utf-8", "ignore")
