"""Reads the samples of a round from their objects into a recipe's tensors."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from tidemill_contracts.errors import Corrupt, InvalidInput, NotFound
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.samples import Sample
from tidemill_contracts.stored_batch import decode_batch
from tidemill_registry.records import SampleRow, StoredObject

from tidemill_trainer.contents import read_event
from tidemill_trainer.datasets import Learner
from tidemill_trainer.recipes.recipe import Examples


class CorruptObject(Corrupt):
    """A person must look: the batch object `name` is not what was indexed."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def read_samples(
    store: ObjectStore, rows: Sequence[SampleRow], objects: Mapping[str, StoredObject]
) -> Iterator[tuple[list[int], list[Sample]]]:
    """The samples object by object: their places in `rows`, and themselves.

    objects: those that the rows lie in, with the digests they had when they were indexed.

    Raises:
        CorruptObject: an object is gone, or holds other bytes than those that were indexed.
        Unavailable: the store did not answer.
    """
    by_object: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        by_object[row.object].append(place)
    for name, places in sorted(by_object.items()):
        wanted = sorted(places, key=lambda place: _position(rows[place]))
        yield wanted, _from_object(store, objects[name], [_position(rows[place]) for place in wanted])


def load_examples(
    learner: Learner,
    store: ObjectStore,
    rows: Sequence[SampleRow],
    objects: Mapping[str, StoredObject],
    *,
    step: Callable[[], None],
) -> Examples:
    """The rows as examples, in their order.

    step: called before every object; raises to stop. Otherwise raises as `read_samples` does.
    """
    places: list[int] = []
    parts = [learner.recipe.read([])]
    for where, samples in read_samples(store, rows, objects):
        step()
        places.extend(where)
        parts.append(learner.recipe.read(samples))
    # Position `k` of the inputs as read belongs to row `places[k]`; the inverse brings them into order.
    inputs = np.concatenate(parts)[np.argsort(np.array(places, np.int64))]
    return Examples(inputs, learner.recipe.targets([row.label for row in rows]))


def _position(row: SampleRow) -> tuple[int, int]:
    return row.message_position, row.sample_position


def _from_object(
    store: ObjectStore, object_: StoredObject, positions: Sequence[tuple[int, int]]
) -> list[Sample]:
    try:
        data = store.get(object_.name)
    except NotFound as error:
        raise CorruptObject(object_.name, str(error)) from error
    if hashlib.sha256(data).hexdigest() != object_.sha256:
        raise CorruptObject(object_.name, f"{object_.name} is not what it was when it was indexed")
    messages = {message for message, _ in positions}
    try:
        events = {
            position: read_event(message).samples
            for position, message in enumerate(decode_batch(data, object_.name))
            if position in messages
        }
        return [events[message][sample] for message, sample in positions]
    except (Corrupt, InvalidInput, LookupError) as error:
        raise CorruptObject(object_.name, f"{object_.name} cannot be read again: {error}") from error
