"""The batch objects: seen, indexed or in quarantine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, select, update

from tidemill_registry.records import ObjectCounts, StoredObject
from tidemill_registry.statements import in_chunks, insert_or_ignore
from tidemill_registry.tables import objects
from tidemill_registry.texts import plain_text

FAULT_LENGTH_MAX = 1000


def see_objects(sql: Connection, found: Iterable[StoredObject], *, now: datetime) -> None:
    """Note that these objects exist. Idempotent: what is known stays as it is."""
    rows = [
        {"name": each.name, "dataset": each.dataset, "split": each.split, "seen_at": now} for each in found
    ]
    insert_or_ignore(sql, objects, rows)


def unseen(sql: Connection, names: Iterable[str]) -> list[str]:
    """Those names that no row has, in the order given."""
    wanted = list(names)
    known: set[str] = set()
    for chunk in in_chunks(wanted):
        known.update(sql.scalars(select(objects.c.name).where(objects.c.name.in_(chunk))))
    return [name for name in wanted if name not in known]


def pending_objects(sql: Connection, dataset: str, *, limit: int) -> list[StoredObject]:
    """Objects not indexed yet, the longest known first."""
    query = (
        select(objects.c.name, objects.c.dataset, objects.c.split, objects.c.sha256)
        .where(objects.c.dataset == dataset, objects.c.indexed_at.is_(None), objects.c.fault.is_(None))
        .order_by(objects.c.seen_at, objects.c.name)
        .limit(limit)
    )
    return [StoredObject(*row) for row in sql.execute(query)]


def get_objects(sql: Connection, names: Iterable[str]) -> dict[str, StoredObject]:
    """The rows of these objects, by name."""
    found: dict[str, StoredObject] = {}
    for chunk in in_chunks(names):
        query = select(objects.c.name, objects.c.dataset, objects.c.split, objects.c.sha256)
        for row in sql.execute(query.where(objects.c.name.in_(chunk))):
            found[row.name] = StoredObject(*row)
    return found


def mark_indexed(sql: Connection, name: str, *, sha256: str, counts: ObjectCounts, now: datetime) -> None:
    """The object's samples are in. In the same transaction as the samples themselves."""
    sql.execute(
        update(objects).where(objects.c.name == name).values(indexed_at=now, sha256=sha256, **asdict(counts))
    )


def quarantine(sql: Connection, name: str, fault: str) -> None:
    """Use the object no more until a person has looked; its samples join no further round from there.

    Objects that hold copies of samples are read once more: a copy of what was spoilt now takes its place.
    """
    sql.execute(
        update(objects).where(objects.c.name == name).values(fault=plain_text(fault, FAULT_LENGTH_MAX))
    )
    dataset = select(objects.c.dataset).where(objects.c.name == name).scalar_subquery()
    copies = (objects.c.dataset == dataset, objects.c.duplicate_count > 0, objects.c.fault.is_(None))
    sql.execute(update(objects).where(*copies).values(indexed_at=None))
