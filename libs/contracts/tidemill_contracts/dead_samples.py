"""Dead letters of single samples, whose message is kept for the sake of the others."""

from __future__ import annotations

import json

from tidemill_contracts.bus import (
    DEAD_ATTEMPTS,
    DEAD_MESSAGE_ID,
    DEAD_REASON,
    DEAD_SAMPLE,
    DEAD_SUBSCRIPTION,
    Delivery,
    Message,
)
from tidemill_contracts.readable import BadSample, ReadableSamples

REASON_BYTES_MAX = 1024
ATTRIBUTES_MAX = 100
"""Pub/Sub's limits, kept on every bus."""


def sample_letters(delivery: Delivery, found: ReadableSamples, *, subscription: str) -> list[Message]:
    """A letter for each bad sample of the delivery: a message of that sample alone, with the reason.

    Mended, it can be sent as it is: it has the dataset, split and source of the message that it came in. The
    same delivery gives the same letters, however often it comes.
    """
    return [_letter(delivery, found, bad, subscription) for bad in found.bad]


def _letter(delivery: Delivery, found: ReadableSamples, bad: BadSample, subscription: str) -> Message:
    event = found.event
    body = {"dataset": event.dataset, "split": event.split, "source": event.source, "samples": [bad.raw]}
    origin = {
        DEAD_REASON: _cut(bad.reason),
        DEAD_SUBSCRIPTION: subscription,
        DEAD_MESSAGE_ID: delivery.message_id,
        DEAD_ATTEMPTS: str(delivery.attempt),
        DEAD_SAMPLE: str(bad.position),
    }
    own = dict(delivery.message.attributes)
    if "ce-id" in own:  # another event: its sample is not the whole message again
        own["ce-id"] = f"{own['ce-id'][:100]}.{bad.position}"
    if "count" in own:
        own["count"] = "1"
    kept = dict(list(own.items())[: ATTRIBUTES_MAX - len(origin)])
    return delivery.message._replace(data=json.dumps(body).encode(), attributes={**kept, **origin})


def _cut(text: str) -> str:
    return text.encode("utf-8", "replace")[:REASON_BYTES_MAX].decode("utf-8", "ignore")
