"""What a batch object holds: samples with ids and places, and what cannot be read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import Corrupt, InvalidInput
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.identified import identified
from tidemill_contracts.samples import Sample
from tidemill_contracts.stored_batch import StoredMessage, content_digest, decode_batch
from tidemill_registry.records import RefusedSample, StoredObject

_DIGEST_NAME = re.compile(r"/([0-9a-f]{64})\.avro$")


@dataclass(frozen=True)
class FoundSample:
    """A sample where it was found. digest: SHA-256 of its content."""

    sample_id: str
    sample: Sample
    message_position: int
    sample_position: int
    digest: str


@dataclass(frozen=True)
class Contents:
    """All of an object. refused: each message or sample that cannot be used, with the reason."""

    message_count: int
    found: list[FoundSample]
    refused: list[RefusedSample]


def read_contents(object_: StoredObject, data: bytes) -> Contents:
    """What the object's bytes hold; a bad message or sample never hides its neighbours.

    Raises:
        Corrupt: the bytes are not a whole container, or not the content that the object's name was made from.
    """
    messages = list(decode_batch(data, object_.name))
    named = _DIGEST_NAME.search(object_.name)
    if named is not None and content_digest(messages) != named[1]:
        raise Corrupt(f"the content of {object_.name} is not what its name says")
    found: list[FoundSample] = []
    refused: list[RefusedSample] = []
    for position, message in enumerate(messages):
        try:
            event = _event(object_, message)
        except InvalidInput as error:
            refused.append(RefusedSample(object_.name, position, None, None, str(error)))
            continue
        samples = list(_samples(event, position))
        found += samples
        readable = {sample.sample_position for sample in samples}
        for index in sorted(set(range(len(event.samples))) - readable):
            ident = event.samples[index].id
            refused.append(RefusedSample(object_.name, position, index, ident, "the image is not Base64"))
    return Contents(len(messages), found, refused)


def read_event(message: StoredMessage) -> SamplesReceived:
    """The samples of a stored message; raises InvalidInput if it carries something else."""
    return from_message(message.message, SamplesReceived)


def _event(object_: StoredObject, message: StoredMessage) -> SamplesReceived:
    """The message's event, if it belongs where it lies: a test sample in a training batch would train."""
    event = read_event(message)
    if (event.dataset, event.split) != (object_.dataset, object_.split):
        said = f"it is of {event.dataset}/{event.split}, but lies in {object_.dataset}/{object_.split}"
        raise InvalidInput(said, field="split")
    return event


def _samples(event: SamplesReceived, position: int) -> Iterator[FoundSample]:
    """The event's samples with their ids; those whose image is not Base64 are left out."""
    for each in identified(event):
        digest = hashlib.sha256(each.content).hexdigest()
        yield FoundSample(each.sample_id, each.sample, position, each.position, digest)
