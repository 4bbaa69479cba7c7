"""What a batch object holds: samples with ids and places, and what cannot be read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic_core import from_json
from tidemill_contracts.errors import Corrupt, InvalidInput
from tidemill_contracts.identified import identified
from tidemill_contracts.readable import ReadableSamples, read_samples
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
            read = _read(object_, message)
        except InvalidInput as error:
            refused.append(RefusedSample(object_.name, position, None, None, str(error)))
            continue
        samples = list(_samples(read, position))
        found += samples
        usable = {sample.sample_position for sample in samples}
        for index, sample in zip(read.positions, read.event.samples, strict=True):
            if index not in usable:
                said = "the image is not Base64"
                refused.append(RefusedSample(object_.name, position, index, sample.id, said))
        refused += [RefusedSample(object_.name, position, bad.position, None, bad.reason) for bad in read.bad]
    return Contents(len(messages), found, refused)


def samples_at(message: StoredMessage, positions: Iterable[int]) -> dict[int, Sample]:
    """The samples of a stored message at these places; the others are not looked at.

    For messages that were read whole when their object was indexed, and have not changed since: to look at
    all of them again would make a round's cost follow its history.

    Raises:
        InvalidInput: it carries no samples, or one of these cannot be read.
    """
    try:
        found = from_json(message.data)["samples"]
        return {position: Sample.model_validate(found[position]) for position in positions}
    except (ValueError, TypeError, LookupError) as error:
        raise InvalidInput(f"no such sample: {error}", field="samples") from error


def _read(object_: StoredObject, message: StoredMessage) -> ReadableSamples:
    """What the message holds, if it belongs where it lies: a test sample in a training batch would train."""
    read = read_samples(message.message)
    event = read.event
    if (event.dataset, event.split) != (object_.dataset, object_.split):
        said = f"it is of {event.dataset}/{event.split}, but lies in {object_.dataset}/{object_.split}"
        raise InvalidInput(said, field="split")
    return read


def _samples(read: ReadableSamples, position: int) -> Iterator[FoundSample]:
    """The event's samples with their ids; those whose image is not Base64 are left out."""
    for each in identified(read.event, read.positions):
        digest = hashlib.sha256(each.content).hexdigest()
        yield FoundSample(each.sample_id, each.sample, position, each.position, digest)
