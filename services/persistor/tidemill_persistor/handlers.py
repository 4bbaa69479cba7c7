"""What the persistor does with a batch that is due."""

from __future__ import annotations

import hashlib

from tidemill_chassis.logs import get_logger
from tidemill_contracts.avro_container import Fields
from tidemill_contracts.bus import Bus, Delivery
from tidemill_contracts.envelope import to_message
from tidemill_contracts.errors import Conflict, Corrupt, NotFound, Unavailable
from tidemill_contracts.events import BatchStored
from tidemill_contracts.layout import batch_name
from tidemill_contracts.objects import ABSENT, ObjectStore
from tidemill_contracts.stored_batch import Codec, content_digest, decode_batch, encode_batch

from tidemill_persistor.batching import Batch

log = get_logger(__name__)

SUBSCRIPTION = "persistor"
SOURCE = "tidemill/persistor"


def store_batch(batch: Batch, store: ObjectStore, bus: Bus, *, codec: Codec = "deflate") -> BatchStored:
    """Write the batch, then announce it. The caller acknowledges after this returns.

    The object is named by its content and only ever created, so a batch that comes again after a crash finds
    itself there; its announcement then has the same event id as the first.

    Raises:
        Unavailable: the store or the bus did not answer. Acknowledge nothing; do the same again later.
    """
    deliveries = batch.deliveries()
    data, digest = encode_batch(_kept(deliveries), codec)
    place = batch.place
    name = batch_name(place.dataset, place.split, place.hour, digest)
    data = _create(store, name, data, digest)
    stored = BatchStored(
        event_id=digest,
        dataset=place.dataset,
        split="test" if place.split == "test" else "train",
        object=name,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        message_count=len(deliveries),
        sample_count=batch.sample_count(),
        first_publish_time=deliveries[0].publish_time,
        last_publish_time=deliveries[-1].publish_time,
    )
    bus.publish(BatchStored.topic, [to_message(stored, source=SOURCE, attributes={"dataset": place.dataset})])
    return stored


def _kept(deliveries: list[Delivery]) -> list[Fields]:
    return [
        (SUBSCRIPTION, message_id, publish_time, attributes, data)
        for (data, attributes, _), _, message_id, publish_time, _ in deliveries
    ]


def _create(store: ObjectStore, name: str, data: bytes, digest: str) -> bytes:
    """The bytes that the name holds from now on: ours, or those of who wrote the same content first.

    The same content is not always the same bytes: another codec, or version of it, may have packed them. What
    was spoilt since is replaced: to acknowledge would leave the messages nowhere.

    Raises:
        Unavailable: as the store does, or somebody else is at the same name.
    """
    try:
        store.put(name, data, if_generation=ABSENT)
        return data
    except Conflict:
        pass
    try:
        there = store.stat(name)
        found = _sound(store, name, digest)
        if found is not None:
            return found
        store.put(name, data, if_generation=there.generation)
    except (Conflict, NotFound) as error:
        raise Unavailable(f"{name} is changed by somebody else: {error}") from error
    log.error("spoilt_object_replaced", object=name)
    return data


def _sound(store: ObjectStore, name: str, digest: str) -> bytes | None:
    """The object's bytes; None if they are not what its name says."""
    try:
        data = store.get(name)
        return data if content_digest(decode_batch(data, name)) == digest else None
    except Corrupt:
        return None
