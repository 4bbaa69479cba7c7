"""What the trainer does when it hears of a batch, and when it looks for what it did not hear of."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

from tidemill_chassis.logs import get_logger
from tidemill_contracts.bus import Delivery
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.events import BatchStored
from tidemill_contracts.layout import SAMPLES, parse_batch_name
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.samples import SPLITS
from tidemill_registry import Registry
from tidemill_registry.batches import see_objects, unseen
from tidemill_registry.records import StoredObject

LISTED_AT_ONCE = 1000

log = get_logger(__name__)


def register_batch(delivery: Delivery, *, registry: Registry, now: datetime) -> None:
    """Note the object that a `BatchStored` names. Idempotent.

    Raises:
        InvalidInput: the message is no BatchStored, or names an object that is no batch of its dataset.
        Unavailable: the database did not answer.
    """
    event = from_message(delivery.message, BatchStored)
    if parse_batch_name(event.object) != (event.dataset, event.split):
        said = f"{event.object!r} is not the name of a batch of {event.dataset}/{event.split}"
        raise InvalidInput(said, field="object")
    with registry.write() as sql:
        see_objects(sql, [StoredObject(event.object, event.dataset, event.split)], now=now)
    log.info("batch_registered", object=event.object, sample_count=event.sample_count)


def reconcile(*, registry: Registry, store: ObjectStore, now: datetime) -> int:
    """Note every batch in the store that no event told of; return how many there were.

    Raises:
        Unavailable: store or database did not answer.
    """
    listed = (
        StoredObject(info.name, *place)
        for info in store.list(SAMPLES)
        if (place := parse_batch_name(info.name)) is not None and place[1] in SPLITS
    )
    missed_count = 0
    while chunk := list(islice(listed, LISTED_AT_ONCE)):
        with registry.read() as sql:
            missed = set(unseen(sql, [each.name for each in chunk]))
        if missed:
            with registry.write() as sql:
                see_objects(sql, [each for each in chunk if each.name in missed], now=now)
        missed_count += len(missed)
    if missed_count:
        log.info("batches_found", object_count=missed_count)
    return missed_count
