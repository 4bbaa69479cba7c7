"""The rounds: opened with their whole snapshot, followed while they run, closed with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update
from tidemill_contracts.errors import NotFound

from tidemill_registry.records import Part, RoundRecord, RoundStatus, SampleRow
from tidemill_registry.round_tables import label_claims
from tidemill_registry.sample_rows import get_samples
from tidemill_registry.statements import insert_or_ignore
from tidemill_registry.tables import objects, round_objects, round_samples, rounds, samples
from tidemill_registry.uses import claim_samples

_COLUMNS = tuple(rounds.c[field.name] for field in fields(RoundRecord))
UNFINISHED: tuple[RoundStatus, ...] = ("open", "publishing")

Snapshot = Mapping[Part, list[SampleRow]]
"""The samples of a round by the part they play; validation holds those of earlier rounds too."""


def open_round(sql: Connection, round_: RoundRecord, dataset: str, parts: Mapping[Part, list[str]]) -> None:
    """Write the round with its snapshot: which samples of which objects play which part.

    parts: ids; under `validation` only those that no earlier round had.
    """
    sql.execute(rounds.insert(), vars(round_))
    chosen = get_samples(sql, dataset, [each for ids in parts.values() for each in ids])
    by_object = Counter(row.object for row in chosen)
    insert_or_ignore(
        sql,
        round_objects,
        [{"round_id": round_.id, "object": name, "sample_count": n} for name, n in sorted(by_object.items())],
    )
    key = {"round_id": round_.id, "dataset": dataset}
    labels = {row.sample_id: row.label for row in chosen}
    rows = [
        {**key, "sample_id": each, "part": part, "label": labels.get(each)}
        for part, ids in parts.items()
        for each in ids
    ]
    insert_or_ignore(sql, round_samples, rows)
    claim_samples(sql, round_, dataset, [*parts.get("train", []), *parts.get("validation", [])])


def read_snapshot(sql: Connection, round_: RoundRecord) -> Snapshot:
    """The round's samples as they were when it opened, each part by id; quarantined objects left out."""
    same = (samples.c.dataset == round_samples.c.dataset, samples.c.sample_id == round_samples.c.sample_id)
    query = (
        select(
            round_samples.c.part,
            samples.c.sample_id,
            samples.c.object,
            samples.c.message_position,
            samples.c.sample_position,
            func.coalesce(round_samples.c.label, samples.c.label),
            samples.c.role,
            samples.c.digest,
        )
        .select_from(
            round_samples.join(samples, (same[0]) & (same[1]))
            .join(objects, objects.c.name == samples.c.object)
            .join(rounds, rounds.c.id == round_samples.c.round_id)
        )
        .where(
            rounds.c.model == round_.model,
            objects.c.fault.is_(None),
            (rounds.c.id == round_.id)
            | ((round_samples.c.part == "validation") & (rounds.c.number < round_.number)),
        )
        .order_by(round_samples.c.part, samples.c.sample_id, rounds.c.number)
    )
    snapshot: dict[Part, list[SampleRow]] = {"train": [], "rehearsal": [], "validation": []}
    for part, *row in sql.execute(query):
        found, mine = SampleRow(*row), snapshot[part]
        # A validation sample that was given another label stands again in the round that came next.
        if mine and mine[-1].sample_id == found.sample_id:
            mine[-1] = found
        else:
            mine.append(found)
    return snapshot


def relabelled_validation(sql: Connection, model: str) -> list[str]:
    """Validation samples whose label a person has changed since they last stood in a round of the model."""
    query = (
        select(samples.c.sample_id, round_samples.c.label, samples.c.label)
        .select_from(
            round_samples.join(rounds, rounds.c.id == round_samples.c.round_id).join(
                samples,
                (samples.c.dataset == round_samples.c.dataset)
                & (samples.c.sample_id == round_samples.c.sample_id),
            )
        )
        .where(
            rounds.c.model == model,
            round_samples.c.part == "validation",
            samples.c.sample_id.in_(
                select(label_claims.c.sample_id).where(label_claims.c.resolved_at.is_not(None))
            ),
        )
        .order_by(rounds.c.number)
    )
    latest = {sample_id: (then, now) for sample_id, then, now in sql.execute(query)}
    return sorted(sample_id for sample_id, (then, now) in latest.items() if then not in (None, now))


def retry_history(sql: Connection, model: str) -> tuple[int, int]:
    """How many retries there were, and how many did not help since the last one that did."""
    query = select(rounds.c.status).where(rounds.c.model == model, rounds.c.kind == "retry")
    statuses = list(sql.scalars(query.order_by(rounds.c.number.desc())))
    unhelpful = next((place for place, each in enumerate(statuses) if each == "promoted"), len(statuses))
    return len(statuses), unhelpful


def own_ids(sql: Connection, round_id: str, part: Part) -> set[str]:
    """Ids that this round itself brought into the part."""
    query = select(round_samples.c.sample_id).where(
        round_samples.c.round_id == round_id, round_samples.c.part == part
    )
    return set(sql.scalars(query))


def objects_of_round(sql: Connection, round_id: str) -> dict[str, str]:
    """The digests of the objects that a round's own samples lie in, by name."""
    query = (
        select(objects.c.name, objects.c.sha256)
        .join(round_objects, round_objects.c.object == objects.c.name)
        .where(round_objects.c.round_id == round_id)
        .order_by(objects.c.name)
    )
    return {name: sha256 or "" for name, sha256 in sql.execute(query)}


def count_validation(sql: Connection, model: str) -> int:
    """How many samples validated in any round of the model."""
    query = (
        select(func.count(samples.c.sample_id.distinct()))
        .select_from(
            round_samples.join(rounds, rounds.c.id == round_samples.c.round_id)
            .join(
                samples,
                (samples.c.dataset == round_samples.c.dataset)
                & (samples.c.sample_id == round_samples.c.sample_id),
            )
            .join(objects, objects.c.name == samples.c.object)
        )
        .where(rounds.c.model == model, round_samples.c.part == "validation", objects.c.fault.is_(None))
    )
    return sql.scalar(query) or 0


def next_number(sql: Connection, model: str) -> int:
    """The number of the model's next round, from 1."""
    return (sql.scalar(select(func.max(rounds.c.number)).where(rounds.c.model == model)) or 0) + 1


def get_round(sql: Connection, round_id: str) -> RoundRecord:
    """The round of this id.

    Raises:
        NotFound: there is none.
    """
    row = sql.execute(select(*_COLUMNS).where(rounds.c.id == round_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no round {round_id}")
    return RoundRecord(*row)


def list_rounds(sql: Connection, model: str) -> list[RoundRecord]:
    """The model's rounds, the first one first."""
    query = select(*_COLUMNS).where(rounds.c.model == model).order_by(rounds.c.number)
    return [RoundRecord(*row) for row in sql.execute(query)]


def unfinished_round(sql: Connection, model: str) -> RoundRecord | None:
    """The round that was opened and not closed, if there is one."""
    query = select(*_COLUMNS).where(rounds.c.model == model, rounds.c.status.in_(UNFINISHED))
    row = sql.execute(query.order_by(rounds.c.number)).first()
    return None if row is None else RoundRecord(*row)


def rested_since(sql: Connection, model: str) -> datetime | None:
    """When the latest retry ended; before the first one, when the first round ended that did not help."""
    closed = rounds.c.closed_at
    ended = select(func.max(closed)).where(rounds.c.model == model, rounds.c.kind == "retry")
    unhelpful = select(func.min(closed)).where(
        rounds.c.model == model, rounds.c.status.in_(("ignored", "failed"))
    )
    since: datetime | None = sql.scalar(ended) or sql.scalar(unhelpful)
    return since


def change_round(sql: Connection, round_id: str, **values: Any) -> RoundRecord:
    """Set columns of the round; return it as it stands then."""
    sql.execute(update(rounds).where(rounds.c.id == round_id).values(**values))
    return get_round(sql, round_id)
