"""What the trainer does when it hears of a batch, and when it looks for what it did not hear of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from tidemill_registry.trigger_rows import Trigger, TriggerKind, add_triggers

LISTED_AT_ONCE = 1000
ModelsOf = Mapping[str, Sequence[str]]
"""The models that learn from each dataset."""
NO_MODELS: ModelsOf = {}

log = get_logger(__name__)


def register_batch(
    delivery: Delivery, *, registry: Registry, now: datetime, models: ModelsOf = NO_MODELS
) -> None:
    """Note the object that a `BatchStored` names, and wake the models of its dataset. Idempotent.

    Raises:
        InvalidInput: the message is no BatchStored, or names an object that is no batch of its dataset.
        Unavailable: the database did not answer.
    """
    event = from_message(delivery.message, BatchStored)
    if parse_batch_name(event.object) != (event.dataset, event.split):
        said = f"{event.object!r} is not the name of a batch of {event.dataset}/{event.split}"
        raise InvalidInput(said, field="object")
    with registry.write() as sql:
        seen = StoredObject(event.object, event.dataset, event.split)
        see_objects(sql, [seen], now=now)
        add_triggers(sql, _triggers([seen], models, "event", now))
    log.info("batch_registered", object=event.object, sample_count=event.sample_count)


def reconcile(*, registry: Registry, store: ObjectStore, now: datetime, models: ModelsOf = NO_MODELS) -> int:
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
                found = [each for each in chunk if each.name in missed]
                see_objects(sql, found, now=now)
                add_triggers(sql, _triggers(found, models, "reconcile", now))
        missed_count += len(missed)
    if missed_count:
        log.info("batches_found", object_count=missed_count)
    return missed_count


def _triggers(
    found: Iterable[StoredObject], models: ModelsOf, kind: TriggerKind, now: datetime
) -> Iterator[Trigger]:
    """For every model a trigger per object of training samples, the same whoever tells of the object."""
    for each in found:
        if each.split == "train":
            for model in models.get(each.dataset, ()):
                yield Trigger(model, f"batch/{each.name}", kind, now)
