"""Compares what the store keeps with what the registry says of it, and names every difference."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from tidemill_contracts import layout
from tidemill_contracts.errors import Corrupt, InvalidInput, NotFound
from tidemill_contracts.identified import identified
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.readable import read_samples
from tidemill_contracts.stored_batch import StoredMessage, content_digest, decode_batch
from tidemill_registry.registry import Registry
from tidemill_registry.sample_rows import get_samples
from tidemill_registry.tables import objects, samples

FRESH_S = 120.0
"""An object whose last message is younger may still be on its way into the registry."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be."""

    object: str
    fault: str


@dataclass
class Tally:
    """What was looked at. waiting: objects that the trainer has not read yet, which is no difference."""

    object_count: int = 0
    message_count: int = 0
    sample_count: int = 0
    size_bytes: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class _Contents:
    size_bytes: int
    sha256: str
    messages: list[StoredMessage]
    places: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def is_fresh(self) -> bool:
        last = max(
            (message.publish_time for message in self.messages), default=datetime.min.replace(tzinfo=UTC)
        )
        return datetime.now(UTC) - last < timedelta(seconds=FRESH_S)


class Verifier:
    """Reads both sides; writes neither. Every method may raise Unavailable."""

    def __init__(self, store: ObjectStore, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    def names(self, dataset: str | None = None) -> list[str]:
        """Every object that should be a batch, by name."""
        prefix = f"{layout.SAMPLES}{dataset}/" if dataset else layout.SAMPLES
        return [info.name for info in self._store.list(prefix)]

    def check(self, name: str, tally: Tally) -> Iterator[Difference]:
        """Every difference of one object; adds what was looked at to `tally`."""
        place = layout.parse_batch_name(name)
        if place is None:
            yield Difference(name, "this is not the name of a batch")
            return
        tally.object_count += 1
        try:
            contents = self._read(name)
        except (Corrupt, NotFound) as error:
            yield Difference(name, str(error))
            return
        tally.size_bytes += contents.size_bytes
        tally.message_count += len(contents.messages)
        tally.sample_count += len(contents.places)
        row = self._row(name)
        if row is None and not contents.is_fresh:
            yield Difference(name, "the registry does not know this object")
        elif row is not None and row["fault"] is not None:
            yield Difference(name, f"in quarantine: {row['fault']}")
        elif row is None or row["indexed_at"] is None:
            tally.waiting += 1
        else:
            yield from (Difference(name, fault) for fault in self._faults(name, place[0], contents, row))

    def missing(self, names: Iterable[str], dataset: str | None = None) -> Iterator[Difference]:
        """Every row of the registry whose object is not among `names`, the objects that there are."""
        present = set(names)
        query = select(objects.c.name).order_by(objects.c.name)
        if dataset:
            query = query.where(objects.c.dataset == dataset)
        with self._registry.read() as sql:
            gone = [name for name in sql.scalars(query) if name not in present]
        for name in gone:
            yield Difference(name, "the registry knows this object, but the store does not have it")

    def miscounted(self, dataset: str | None = None) -> Iterator[Difference]:
        """Every object that the registry has more or fewer samples of than it says itself."""
        rows = select(samples.c.object, func.count().label("rows")).group_by(samples.c.object).subquery()
        query = (
            select(objects.c.name, objects.c.sample_count, func.coalesce(rows.c.rows, 0))
            .outerjoin(rows, rows.c.object == objects.c.name)
            .where(func.coalesce(rows.c.rows, 0) != objects.c.sample_count)
            .order_by(objects.c.name)
        )
        if dataset:
            query = query.where(objects.c.dataset == dataset)
        with self._registry.read() as sql:
            found = sql.execute(query).all()
        for name, said, counted in found:
            yield Difference(name, f"the registry says {said} samples are new in it, but has {counted} rows")

    def _read(self, name: str) -> _Contents:
        data = self._store.get(name)
        messages = list(decode_batch(data, name))
        digest = content_digest(messages)
        if name.rpartition("/")[2] != f"{digest}.avro":
            raise Corrupt(f"its content has the digest {digest}, which is not its name")
        contents = _Contents(len(data), hashlib.sha256(data).hexdigest(), messages)
        for position, message in enumerate(messages):
            try:
                read = read_samples(message.message)
            except InvalidInput:
                continue  # counted in the row as invalid; the persistor lets none through
            for found in identified(read.event, read.positions):
                contents.places.setdefault(found.sample_id, (position, found.position))
        return contents

    def _row(self, name: str) -> dict[str, Any] | None:
        with self._registry.read() as sql:
            found = sql.execute(select(objects).where(objects.c.name == name)).mappings().first()
        return dict(found) if found else None

    def _faults(self, name: str, dataset: str, contents: _Contents, row: dict[str, Any]) -> Iterator[str]:
        if row["sha256"] != contents.sha256:
            yield "its bytes are not those that were indexed"
        if row["message_count"] != len(contents.messages):
            yield f"it holds {len(contents.messages)} messages, the registry says {row['message_count']}"
        with self._registry.read() as sql:
            known = {each.sample_id: each for each in get_samples(sql, dataset, contents.places)}
        absent = len(contents.places) - len(known)
        if absent > row["invalid_count"] + row["leaked_count"]:
            yield f"{absent} of its samples are not in the registry"
        moved = [
            ident
            for ident, each in known.items()
            if each.object == name and (each.message_position, each.sample_position) != contents.places[ident]
        ]
        if moved:
            yield f"{len(moved)} of its samples lie elsewhere than the registry says, such as {moved[0]}"
