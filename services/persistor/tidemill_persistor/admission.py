"""Where a message belongs, or why it belongs nowhere. No clock, no network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tidemill_contracts.bus import Delivery
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.events import SamplesReceived

OVERHEAD_BYTES = 1024
"""What a held message costs in memory beside its text: measured at 0.9 kB for six attributes."""


@dataclass(frozen=True)
class Place:
    """What the messages of one batch have in common. hour: of publication, in UTC."""

    dataset: str
    split: str
    hour: datetime


@dataclass(frozen=True)
class Held:
    """A delivery in hand. size_bytes: the memory that it takes."""

    delivery: Delivery
    place: Place
    sample_count: int
    size_bytes: int


def admit(delivery: Delivery) -> Held:
    """The delivery with its place.

    The body is always parsed, whoever sent it. It costs 2.3 µs a sample in messages of 500 and 5.3 µs in
    messages of one; trusting an attribute instead would save little, and let anybody with access to the topic
    store what no reader can read.

    Raises:
        InvalidInput: the message is not SamplesReceived, or has text that no store can hold.
    """
    message = delivery.message
    texts = [delivery.message_id, *message.attributes.keys(), *message.attributes.values()]
    try:
        text_bytes = len("".join(texts).encode())
    except UnicodeEncodeError as error:
        raise InvalidInput("an attribute is not text: it holds half a surrogate pair") from error
    event = from_message(message, SamplesReceived)
    published = delivery.publish_time.astimezone(UTC)
    return Held(
        delivery=delivery,
        place=Place(event.dataset, event.split, published.replace(minute=0, second=0, microsecond=0)),
        sample_count=len(event.samples),
        size_bytes=len(message.data) + text_bytes + OVERHEAD_BYTES,
    )
