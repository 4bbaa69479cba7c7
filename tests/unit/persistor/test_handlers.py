"""Storing one batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from tidemill_contracts.bus import Delivery
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.events import BatchStored
from tidemill_contracts.layout import parse_batch_name
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.stored_batch import decode_batch
from tidemill_persistor.admission import admit
from tidemill_persistor.batching import Batch
from tidemill_persistor.handlers import store_batch

MakeDelivery = Callable[..., Delivery]


def batch_of(*deliveries: Delivery) -> Batch:
    admitted = [admit(delivery) for delivery in deliveries]
    batch = Batch(admitted[0].place, opened_at_s=0.0)
    batch.held = {held.delivery.message_id: held for held in admitted}
    return batch


def announced(bus: MemoryBus) -> list[BatchStored]:
    return [from_message(message, BatchStored) for message in bus.published("batches")]


def test_a_stored_batch_is_announced_with_its_address_size_and_digest(make_delivery: MakeDelivery) -> None:
    store, bus = MemoryStore(), MemoryBus()

    stored = store_batch(batch_of(make_delivery("a"), make_delivery("b")), store, bus)

    data = store.get(stored.object)
    assert announced(bus)[0].model_dump() == stored.model_dump()
    assert parse_batch_name(stored.object) == ("reviews", "train")
    assert (stored.message_count, stored.sample_count) == (2, 2)
    assert (stored.size_bytes, stored.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_messages_are_kept_unchanged(make_delivery: MakeDelivery) -> None:
    store = MemoryStore()
    delivery = make_delivery("a", text="naïve ☃")
    told = delivery._replace(message=delivery.message._replace(attributes={"ké": "välue", "empty": ""}))

    stored = store_batch(batch_of(told), store, MemoryBus())

    (kept,) = decode_batch(store.get(stored.object))
    assert kept.message == told.message
    assert (kept.message_id, kept.publish_time) == ("a", told.publish_time)


def test_a_batch_delivered_twice_is_kept_once(make_delivery: MakeDelivery) -> None:
    store, bus = MemoryStore(), MemoryBus()
    one, two = make_delivery("a"), make_delivery("b")

    store_batch(batch_of(one, two), store, bus)
    store_batch(batch_of(two, one), store, bus)

    first, again = announced(bus)
    assert len(list(store.list("samples/"))) == 1
    assert first.event_id == again.event_id


def test_an_object_that_is_there_already_is_never_overwritten(make_delivery: MakeDelivery) -> None:
    store, bus = MemoryStore(), MemoryBus()
    name = store_batch(batch_of(make_delivery("a")), store, bus, codec="null").object
    before = store.get(name), store.stat(name)

    stored = store_batch(batch_of(make_delivery("a")), store, bus, codec="deflate")

    assert stored.object == name
    assert (store.get(name), store.stat(name)) == before
    assert stored.sha256 == hashlib.sha256(before[0]).hexdigest()


@pytest.mark.parametrize("spoil", [lambda data: data[:-9], lambda data: data.replace(b"fine", b"fime")])
def test_an_object_that_was_spoilt_is_written_anew_when_its_messages_come_again(
    make_delivery: MakeDelivery, spoil: Callable[[bytes], bytes]
) -> None:
    store, bus = MemoryStore(), MemoryBus()
    name = store_batch(batch_of(make_delivery("a")), store, bus, codec="null").object
    whole = store.get(name)
    store.put(name, spoil(whole))

    stored = store_batch(batch_of(make_delivery("a")), store, bus, codec="null")

    assert spoil(whole) != whole
    assert (stored.object, store.get(name)) == (name, whole)
    assert stored.sha256 == hashlib.sha256(whole).hexdigest()


def test_nothing_is_announced_when_the_store_is_down(make_delivery: MakeDelivery) -> None:
    bus = MemoryBus()

    with pytest.raises(Unavailable):
        store_batch(batch_of(make_delivery("a")), MemoryStore(failing=True), bus)

    assert announced(bus) == []
