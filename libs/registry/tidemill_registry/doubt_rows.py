"""Samples in doubt: one content under two labels, and likenesses across the test line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, exists, select, update
from tidemill_contracts.errors import NotFound

from tidemill_registry.round_tables import label_claims, near_duplicates, sketches
from tidemill_registry.statements import in_chunks, insert_or_ignore
from tidemill_registry.tables import samples


@dataclass(frozen=True)
class LabelClaim:
    """A sample that was said to be `label`, and is `kept_label` in the registry.

    object, claimed_id: where, and under which id, it was said.
    """

    sample_id: str
    kept_label: str
    label: str
    role: str
    object: str
    claimed_id: str
    seen_at: datetime


@dataclass(frozen=True)
class NearDuplicate:
    """A test sample and one to train or validate on that are nearly alike. distance: in bits of 256."""

    test_id: str
    train_id: str
    distance: int


def undisputed() -> ColumnElement[bool]:
    """The condition on `samples` that nobody waits for a person to decide on the label."""
    return ~exists().where(
        label_claims.c.dataset == samples.c.dataset,
        label_claims.c.sample_id == samples.c.sample_id,
        label_claims.c.resolved_at.is_(None),
    )


def labels_by_id(sql: Connection, dataset: str, ids: Iterable[str]) -> dict[str, str]:
    """The label that each known sample has."""
    found: dict[str, str] = {}
    for chunk in in_chunks(ids):
        query = select(samples.c.sample_id, samples.c.label)
        query = query.where(samples.c.dataset == dataset, samples.c.sample_id.in_(chunk))
        found.update((row.sample_id, row.label) for row in sql.execute(query))
    return found


def labels_by_content(sql: Connection, dataset: str, digests: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Id and label of the first known sample of each content, by its digest."""
    found: dict[str, tuple[str, str]] = {}
    for chunk in in_chunks(digests):
        query = (
            select(samples.c.digest, samples.c.sample_id, samples.c.label)
            .where(samples.c.dataset == dataset, samples.c.digest.in_(chunk))
            .order_by(samples.c.seen_at, samples.c.sample_id)
        )
        for digest, sample_id, label in sql.execute(query):
            found.setdefault(digest, (sample_id, label))
    return found


def add_claims(sql: Connection, dataset: str, claims: Sequence[LabelClaim]) -> None:
    """Note that samples were said to be something else; said before, nothing changes."""
    names = ("sample_id", "label", "object", "claimed_id", "seen_at")
    rows = [{**{name: getattr(each, name) for name in names}, "dataset": dataset} for each in claims]
    insert_or_ignore(sql, label_claims, rows)


def open_claims(sql: Connection, dataset: str) -> list[LabelClaim]:
    """What waits for a person, by sample."""
    same = (samples.c.dataset == label_claims.c.dataset) & (samples.c.sample_id == label_claims.c.sample_id)
    query = (
        select(
            label_claims.c.sample_id,
            samples.c.label,
            label_claims.c.label,
            samples.c.role,
            label_claims.c.object,
            label_claims.c.claimed_id,
            label_claims.c.seen_at,
        )
        .join(samples, same)
        .where(label_claims.c.dataset == dataset, label_claims.c.resolved_at.is_(None))
        .order_by(label_claims.c.sample_id, label_claims.c.label)
    )
    return [LabelClaim(*row) for row in sql.execute(query)]


def relabel(sql: Connection, dataset: str, sample_id: str, label: str, *, now: datetime) -> int:
    """Give the sample, and all of the same content, this label; return how many. Their doubts are over.

    Raises:
        NotFound: the dataset has no such sample.
    """
    mine = (samples.c.dataset == dataset, samples.c.sample_id == sample_id)
    digest = sql.scalar(select(samples.c.digest).where(*mine))
    if digest is None:
        raise NotFound(f"dataset {dataset} has no sample {sample_id}")
    alike = (samples.c.dataset == dataset, samples.c.digest == digest)
    ids = list(sql.scalars(select(samples.c.sample_id).where(*alike)))
    sql.execute(update(samples).where(*alike).values(label=label))
    claims = (label_claims.c.dataset == dataset, label_claims.c.sample_id.in_(ids))
    sql.execute(
        update(label_claims).where(*claims, label_claims.c.resolved_at.is_(None)).values(resolved_at=now)
    )
    return len(ids)


def add_sketches(sql: Connection, dataset: str, found: Mapping[str, str], *, is_test: bool) -> None:
    """Note the sketches of samples by id."""
    rows = [{"sample_id": each, "sketch": sketch} for each, sketch in found.items()]
    insert_or_ignore(sql, sketches, [{**row, "dataset": dataset, "is_test": is_test} for row in rows])


def read_sketches(sql: Connection, dataset: str, *, is_test: bool) -> dict[str, str]:
    """The sketches on one side of the line, by id."""
    query = select(sketches.c.sample_id, sketches.c.sketch).where(
        sketches.c.dataset == dataset, sketches.c.is_test == is_test
    )
    return {row.sample_id: row.sketch for row in sql.execute(query)}


def add_near(sql: Connection, dataset: str, found: Iterable[NearDuplicate], *, now: datetime) -> None:
    """Note likenesses across the line."""
    insert_or_ignore(
        sql, near_duplicates, [{**vars(each), "dataset": dataset, "found_at": now} for each in found]
    )


def list_near(sql: Connection, dataset: str) -> list[NearDuplicate]:
    """Every likeness that was found, the closest first."""
    columns = (near_duplicates.c.test_id, near_duplicates.c.train_id, near_duplicates.c.distance)
    query = select(*columns).where(near_duplicates.c.dataset == dataset)
    ordered = query.order_by(
        near_duplicates.c.distance, near_duplicates.c.test_id, near_duplicates.c.train_id
    )
    return [NearDuplicate(*row) for row in sql.execute(ordered)]
