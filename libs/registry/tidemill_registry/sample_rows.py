"""The samples: first arrival decides everything about them, for ever."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select, update

from tidemill_registry.doubt_rows import undisputed
from tidemill_registry.records import Role, SampleCounts, SampleRow
from tidemill_registry.statements import in_chunks, insert_or_ignore
from tidemill_registry.tables import objects, samples

_ROW = (
    samples.c.sample_id,
    samples.c.object,
    samples.c.message_position,
    samples.c.sample_position,
    samples.c.label,
    samples.c.role,
    samples.c.digest,
)


def known_ids(sql: Connection, dataset: str, ids: Iterable[str]) -> set[str]:
    """Those of the ids that the dataset has already."""
    found: set[str] = set()
    for chunk in in_chunks(ids):
        query = select(samples.c.sample_id).where(
            samples.c.dataset == dataset, samples.c.sample_id.in_(chunk)
        )
        found.update(sql.scalars(query))
    return found


def spoilt_samples(sql: Connection, dataset: str, ids: Iterable[str]) -> dict[str, str]:
    """Those of the ids whose object is in quarantine, with the digest of the content that they must have."""
    found: dict[str, str] = {}
    for chunk in in_chunks(ids):
        query = (
            select(samples.c.sample_id, samples.c.digest)
            .join(objects, objects.c.name == samples.c.object)
            .where(
                samples.c.dataset == dataset,
                samples.c.sample_id.in_(chunk),
                objects.c.fault.is_not(None),
            )
        )
        found.update((row.sample_id, row.digest) for row in sql.execute(query))
    return found


def ids_in_object(sql: Connection, dataset: str, ids: Iterable[str], name: str) -> set[str]:
    """Those of the ids that the registry finds in this object."""
    found: set[str] = set()
    for chunk in in_chunks(ids):
        query = select(samples.c.sample_id).where(
            samples.c.dataset == dataset, samples.c.sample_id.in_(chunk), samples.c.object == name
        )
        found.update(sql.scalars(query))
    return found


def move_samples(sql: Connection, dataset: str, rows: Sequence[SampleRow]) -> None:
    """The samples lie where these rows say from now on; all else about them stays as it was."""
    if not rows:
        return
    place = ("object", "message_position", "sample_position")
    statement = (
        update(samples)
        .where(samples.c.dataset == dataset, samples.c.sample_id == bindparam("which"))
        .values({name: bindparam(f"new_{name}") for name in place})
    )
    moved = [
        {"which": row.sample_id, **{f"new_{name}": getattr(row, name) for name in place}} for row in rows
    ]
    sql.execute(statement, moved)
    left = select(func.count()).where(samples.c.object == objects.c.name).scalar_subquery()
    spoilt = (objects.c.dataset == dataset, objects.c.fault.is_not(None))
    sql.execute(update(objects).where(*spoilt).values(sample_count=left))


def roles_of_contents(sql: Connection, dataset: str, digests: Iterable[str]) -> dict[str, Role]:
    """The role that each content has in the dataset already, by its digest."""
    found: dict[str, Role] = {}
    for chunk in in_chunks(digests):
        query = select(samples.c.digest, samples.c.role).where(
            samples.c.dataset == dataset, samples.c.digest.in_(chunk)
        )
        found.update((row.digest, row.role) for row in sql.execute(query))
    return found


def add_samples(sql: Connection, dataset: str, rows: Sequence[SampleRow], *, seen_at: datetime) -> None:
    """Add samples; one whose id the dataset has already is left as it was."""
    insert_or_ignore(sql, samples, [{**vars(row), "dataset": dataset, "seen_at": seen_at} for row in rows])


def get_samples(sql: Connection, dataset: str, ids: Iterable[str]) -> list[SampleRow]:
    """The samples of these ids, by id."""
    found: list[SampleRow] = []
    for chunk in in_chunks(sorted(ids)):
        query = select(*_ROW).where(samples.c.dataset == dataset, samples.c.sample_id.in_(chunk))
        found.extend(SampleRow(*row) for row in sql.execute(query))
    return sorted(found, key=lambda row: row.sample_id)


def samples_for_test(sql: Connection, dataset: str, labels: Sequence[str]) -> list[SampleRow]:
    """Every test sample of the labels that lies in a sound object, by id."""
    query = (
        select(*_ROW)
        .join(objects, objects.c.name == samples.c.object)
        .where(
            samples.c.dataset == dataset, samples.c.role == "test", objects.c.fault.is_(None), undisputed()
        )
        .order_by(samples.c.sample_id)
    )
    wanted = frozenset(labels)
    return [SampleRow(*row) for row in sql.execute(query) if not wanted or row.label in wanted]


def count_for_test(sql: Connection, dataset: str, labels: Sequence[str]) -> int:
    """How many `samples_for_test` would give."""
    query = (
        select(samples.c.label, func.count())
        .join(objects, objects.c.name == samples.c.object)
        .where(
            samples.c.dataset == dataset, samples.c.role == "test", objects.c.fault.is_(None), undisputed()
        )
        .group_by(samples.c.label)
    )
    return sum(count for label, count in sql.execute(query) if not labels or label in labels)


def count_samples(sql: Connection, dataset: str) -> SampleCounts:
    """How many samples of each role the dataset has."""
    query = select(samples.c.role, func.count()).where(samples.c.dataset == dataset).group_by(samples.c.role)
    return SampleCounts(**dict(sql.execute(query).all()))
