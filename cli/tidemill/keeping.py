"""Waits until the published samples lie in the store, whoever trains on them and when."""

from __future__ import annotations

import time

from tidemill_contracts.errors import InvalidInput, Unavailable
from tidemill_contracts.identified import identified
from tidemill_contracts.layout import SAMPLES, parse_batch_name
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.readable import read_samples
from tidemill_contracts.stored_batch import decode_batch

from tidemill.unread import Unread

LOOK_EVERY_S = 0.5


class KeptIds:
    """The ids of the samples in a dataset's objects. Every object is read once, those in `before` never."""

    def __init__(self, store: ObjectStore, dataset: str, before: frozenset[str] = frozenset()) -> None:
        self._store = store
        self._dataset = dataset
        self._read = set(before)
        self._ids: set[str] = set()

    def look(self) -> None:
        """Read what is new.

        Raises:
            Unavailable: the store did not answer.
            Corrupt: an object is no batch.
        """
        for name in sorted(object_names(self._store, self._dataset) - self._read):
            for message in decode_batch(self._store.get(name), name):
                try:
                    read = read_samples(message.message)
                except InvalidInput:
                    continue  # no reader takes samples from it
                self._ids.update(each.sample_id for each in identified(read.event, read.positions))
            self._read.add(name)

    def among(self, ids: list[str]) -> set[str]:
        """Those of the ids that were found so far."""
        return self._ids.intersection(ids)


def object_names(store: ObjectStore, dataset: str) -> frozenset[str]:
    """Every batch of the dataset."""
    listed = (info.name for info in store.list(f"{SAMPLES}{dataset}/"))
    return frozenset(name for name in listed if parse_batch_name(name))


def wait_until_kept(kept: KeptIds, published: Unread, *, limit_s: float) -> None:
    """Return when every published sample lies in the store.

    Raises:
        Unavailable: it took longer than `limit_s`.
    """
    end_s = time.monotonic() + limit_s
    while True:
        kept.look()
        published.look(kept.among)
        if not len(published):
            return
        if time.monotonic() > end_s:
            raise Unavailable(
                f"after {limit_s:.0f} s {len(published):,} samples that ingest confirmed are not in the "
                f"store, such as {', '.join(published.some(3))}: look whether the persistor is up, then for "
                "the samples with `tidemill dead list`"
            )
        time.sleep(LOOK_EVERY_S)
