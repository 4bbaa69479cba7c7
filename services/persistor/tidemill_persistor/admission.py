"""Where a message belongs, or why it belongs nowhere. No clock, no network."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from tidemill_contracts.bus import Delivery, made
from tidemill_contracts.envelope import event_time
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.glance import Glancer
from tidemill_contracts.readable import ReadableSamples, read_samples

OVERHEAD_BYTES = 1024
"""What a held message costs in memory beside its text: measured at 0.9 kB for six attributes."""
AHEAD_MAX = timedelta(hours=1)
"""An event that is further ahead of its own publication has a wrong clock: then the publication counts."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Earlier events have a wrong clock too."""
HOUR_S = 3600
PLACES_REMEMBERED = 1000

_look = Glancer().look


class Place(NamedTuple):
    """What the messages of one batch have in common. hour: in which their events came to pass, in UTC."""

    dataset: str
    split: str
    hour: datetime


class Held(NamedTuple):
    """A delivery in hand. size_bytes: the memory that it takes. parted: where some samples are bad."""

    delivery: Delivery
    place: Place
    sample_count: int
    size_bytes: int
    parted: ReadableSamples | None = None


def admit(delivery: Delivery) -> Held:
    """The delivery with its place.

    The body is always checked, whoever sent it: trusting an attribute instead would let anybody with access
    to the topic store what no reader can read. It costs 0.8 µs a sample in messages of 100, and 1.3 alone.

    The place is the message's own affair, so that it is the same at every delivery. An event without a time
    came to pass when it was published; late ones go where they belong.

    Raises:
        InvalidInput: the message is not SamplesReceived, none of its samples can be read, or it has text that
            no store can hold.
    """
    message, _, message_id, happened, _ = delivery
    data, attributes, _ = message
    size_bytes = len(data) + len(message_id) + OVERHEAD_BYTES
    if attributes:
        size_bytes += _text_bytes(attributes)
        told = event_time(attributes)
        if told is not None and told - happened <= AHEAD_MAX and told >= EPOCH:
            happened = told
    found: ReadableSamples | None = None
    try:
        dataset, split, sample_count = _look(message)
    except InvalidInput:
        found = read_samples(message)
        dataset, split, sample_count = found.event.dataset, found.event.split, len(found.positions)
    place = _place(dataset, split, int(happened.timestamp() // HOUR_S))
    return made(Held, (delivery, place, sample_count, size_bytes, found))


def _text_bytes(attributes: Mapping[str, str]) -> int:
    try:
        return len("".join([*attributes.keys(), *attributes.values()]).encode())
    except UnicodeEncodeError as error:
        raise InvalidInput("an attribute is not text: it holds half a surrogate pair") from error


@lru_cache(PLACES_REMEMBERED)
def _place(dataset: str, split: str, hour: int) -> Place:
    """hour: since 1970."""
    return Place(dataset, split, datetime.fromtimestamp(hour * HOUR_S, UTC))
