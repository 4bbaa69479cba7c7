"""Chooses kept messages and publishes them again, under the ids that they had."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tidemill_contracts import layout
from tidemill_contracts.bus import Message
from tidemill_contracts.errors import Corrupt, InvalidInput
from tidemill_contracts.foreign_batch import Origin, read_foreign
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.samples import SPLITS
from tidemill_contracts.stored_batch import StoredMessage, decode_batch

from tidemill.where import Where

UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
SEEN_MAX = 1_000_000
"""Messages remembered to skip their copies; beyond that a copy may be published, which readers count once."""


@dataclass
class Stages:
    """How many came through each stage.

    object_count: read. unreadable_count: objects that nobody can read. message_count: found in the others.
    copy_count: the same message again. outside_count: not within the times.
    unlike_count: not as `where` says.
    published_count, sample_count: messages published again, and the samples in them.
    """

    object_count: int = 0
    unreadable_count: int = 0
    message_count: int = 0
    copy_count: int = 0
    outside_count: int = 0
    unlike_count: int = 0
    published_count: int = 0
    sample_count: int = 0


@dataclass(frozen=True)
class Period:
    """Publication times, in UTC without a zone; None for no bound."""

    since: datetime | None = None
    until: datetime | None = None

    def holds(self, message: StoredMessage) -> bool:
        published = message.publish_time.replace(tzinfo=None)
        early = self.since is not None and published < self.since
        late = self.until is not None and published >= self.until
        return not (early or late)


def list_batches(store: ObjectStore, dataset: str, splits: Sequence[str] = SPLITS) -> list[str]:
    """The names of every batch of the splits, split by split, oldest first."""
    return sorted(info.name for one in splits for info in store.list(layout.batch_prefix(dataset, one)))


def list_foreign(store: ObjectStore, prefix: str) -> list[str]:
    """The names of every object below a prefix that is not one of our batches, by name."""
    return sorted(info.name for info in store.list(prefix) if layout.parse_batch_name(info.name) is None)


class Selection:
    """Reads batch after batch and remembers what it has given already."""

    def __init__(self, store: ObjectStore, period: Period, where: Where, stages: Stages) -> None:
        self._store = store
        self._period = period
        self._where = where
        self._seen: set[bytes] = set()
        self.stages = stages

    def choose(self, name: str) -> list[Message]:
        """The messages of one object to publish again. One that cannot be read gives none, and is counted."""
        self.stages.object_count += 1
        try:
            messages = list(self._read(name))
        except (Corrupt, InvalidInput):
            self.stages.unreadable_count += 1
            return []
        return list(self._chosen(messages))

    def _read(self, name: str) -> Iterator[StoredMessage]:
        """The messages of a batch, ours or foreign; what a foreign writer gave no time counts as of 1970."""
        data = self._store.get(name)
        if layout.parse_batch_name(name) is not None:
            return decode_batch(data, name)
        return read_foreign(data, Origin(name, UNKNOWN_TIME))

    def _chosen(self, messages: list[StoredMessage]) -> Iterator[Message]:
        for message in messages:
            self.stages.message_count += 1
            if not self._period.holds(message):
                self.stages.outside_count += 1
                continue
            if self._is_copy(message):
                self.stages.copy_count += 1
                continue
            try:
                chosen, sample_count = self._where.cut(message.message)
            except InvalidInput:
                chosen, sample_count = None, 0
            if chosen is None:
                self.stages.unlike_count += 1
                continue
            self.stages.sample_count += sample_count
            yield chosen

    def _is_copy(self, message: StoredMessage) -> bool:
        ident = message.attributes.get("ce-id", message.message_id)
        key = hashlib.blake2b(ident.encode(), digest_size=16).digest()
        if key in self._seen:
            return True
        if len(self._seen) >= SEEN_MAX:
            self._seen.clear()
        self._seen.add(key)
        return False
