"""Reads the samples of a round from their objects into a recipe's tensors."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tidemill_contracts.errors import Corrupt, InvalidInput, NotFound
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.samples import Sample
from tidemill_contracts.stored_batch import decode_batch
from tidemill_registry.records import SampleRow, StoredObject

from tidemill_trainer.contents import samples_at
from tidemill_trainer.datasets import Learner
from tidemill_trainer.recipes.recipe import Examples

IN_MEMORY_BYTES_MAX = 32 * 1024 * 1024
"""Of one part of a round; larger ones are streamed into a file and mapped."""
READ_AT_ONCE = 1024
"""Samples decoded at once."""


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
    scratch: Path,
) -> Examples:
    """One part alone; see `load_parts`."""
    [found] = load_parts(learner, store, [rows], objects, step=step, scratch=scratch)
    return found


def load_parts(
    learner: Learner,
    store: ObjectStore,
    parts: Sequence[Sequence[SampleRow]],
    objects: Mapping[str, StoredObject],
    *,
    step: Callable[[], None],
    scratch: Path,
) -> list[Examples]:
    """The rows of every part as examples, in their order.

    Every object is read once, however many parts have samples in it: the older samples of a round lie in
    nearly all objects of its history. One object is in memory at a time. Inputs of a part of more than
    IN_MEMORY_BYTES_MAX lie in an unnamed file in the folder `scratch`, from which training takes a batch at
    a time.

    step: called before every object; raises to stop. Otherwise raises as `read_samples` does.
    """
    recipe = learner.recipe
    rows = [row for part in parts for row in part]
    ends = np.cumsum([len(part) for part in parts])
    inputs: list[npt.NDArray[Any]] | None = None
    for places, samples in read_samples(store, rows, objects):
        step()
        for start in range(0, len(samples), READ_AT_ONCE):
            read = recipe.read(samples[start : start + READ_AT_ONCE])
            if inputs is None:
                inputs = [room(len(part), read, scratch) for part in parts]
            _fill(inputs, ends, np.array(places[start : start + READ_AT_ONCE]), read)
    if inputs is None:
        inputs = [recipe.read([]) for _ in parts]
    return [
        Examples(each, recipe.targets([row.label for row in part]))
        for each, part in zip(inputs, parts, strict=True)
    ]


def room(count: int, first: npt.NDArray[Any], scratch: Path) -> npt.NDArray[Any]:
    """A place for `count` inputs like those of `first`: in memory, or in a file that vanishes with it."""
    shape = (count, *first.shape[1:])
    size = math.prod(shape) * first.dtype.itemsize
    if first.dtype.hasobject or size <= IN_MEMORY_BYTES_MAX:
        return np.empty(shape, first.dtype)
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=scratch) as file:
        # The map holds the file; its name is gone already, so that a killed process leaves nothing behind.
        return np.memmap(file, first.dtype, "w+", shape=shape)


def _fill(
    parts: Sequence[npt.NDArray[Any]],
    ends: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    read: npt.NDArray[Any],
) -> None:
    """Put what was read where it belongs. places: in all parts, one after another; ends: of each of them."""
    whose = np.searchsorted(ends, places, side="right")
    for number, part in enumerate(parts):
        mine = whose == number
        part[places[mine] - (ends[number] - len(part))] = read[mine]


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
    wanted: dict[int, list[int]] = defaultdict(list)
    for message, sample in positions:
        wanted[message].append(sample)
    try:
        found = {
            place: samples_at(message, wanted[place])
            for place, message in enumerate(decode_batch(data, object_.name))
            if place in wanted
        }
        return [found[message][sample] for message, sample in positions]
    except (Corrupt, InvalidInput, LookupError) as error:
        raise CorruptObject(object_.name, f"{object_.name} cannot be read again: {error}") from error
