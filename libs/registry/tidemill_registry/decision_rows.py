"""How rounds were decided, and what people asked for."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, delete, select

from tidemill_registry.round_tables import decisions, wish_results, wishes
from tidemill_registry.statements import in_chunks, insert_or_ignore
from tidemill_registry.tables import round_samples, rounds

Action = Literal["force", "veto", "relabel"]


@dataclass(frozen=True)
class DecisionRecord:
    """What the gate, or a person over it, said to a round's challenger. wish_id: of that person's wish."""

    round_id: str
    decided_at: datetime
    promote: bool
    reason: str
    numbers: Mapping[str, Any]
    wish_id: int | None = None


@dataclass(frozen=True)
class Wish:
    """What a person asked for. subject: a round's or a sample's id; value: a relabel's new label."""

    id: int
    at: datetime
    by: str
    why: str
    action: Action
    scope: str
    subject: str
    value: str | None
    result: str | None = None


def write_decision(sql: Connection, record: DecisionRecord) -> None:
    """Note how a round was decided; a round that is run again, or overruled, is decided again."""
    sql.execute(delete(decisions).where(decisions.c.round_id == record.round_id))
    numbers = json.dumps(dict(record.numbers), sort_keys=True)
    sql.execute(decisions.insert(), {**vars(record), "numbers": numbers})


def read_decisions(sql: Connection, model: str) -> dict[str, DecisionRecord]:
    """The decisions of a model's rounds by round id."""
    query = (
        select(
            decisions.c.round_id,
            decisions.c.decided_at,
            decisions.c.promote,
            decisions.c.reason,
            decisions.c.numbers,
            decisions.c.wish_id,
        )
        .join(rounds, rounds.c.id == decisions.c.round_id)
        .where(rounds.c.model == model)
    )
    found = (DecisionRecord(*row) for row in sql.execute(query))
    return {each.round_id: _parsed(each) for each in found}


def believed_samples(
    sql: Connection, model: str, dataset: str, ids: Iterable[str], *, before: int
) -> set[str]:
    """Those of the ids that trained in a round before this number, whose labels the gate asked about and
    believed."""
    stood: dict[str, set[str]] = defaultdict(set)
    for chunk in in_chunks(sorted(ids)):
        query = (
            select(round_samples.c.round_id, round_samples.c.sample_id)
            .join(rounds, rounds.c.id == round_samples.c.round_id)
            .where(
                round_samples.c.dataset == dataset,
                round_samples.c.sample_id.in_(chunk),
                round_samples.c.part == "train",
                rounds.c.model == model,
                rounds.c.number < before,
            )
        )
        for round_id, sample_id in sql.execute(query):
            stood[round_id].add(sample_id)
    believed: set[str] = set()
    for chunk in in_chunks(sorted(stood)):
        told = select(decisions.c.round_id, decisions.c.numbers).where(decisions.c.round_id.in_(chunk))
        for round_id, numbers in sql.execute(told):
            agreement = json.loads(numbers).get("agreement")
            if agreement is not None and agreement["doubt"] is None:
                believed |= stood[round_id]
    return believed


def add_wish(
    sql: Connection,
    action: Action,
    *,
    scope: str,
    subject: str,
    by: str,
    why: str,
    at: datetime,
    value: str | None = None,
) -> None:
    """Note what a person asks for; the trainer does it at its next look."""
    asked = {"at": at, "by": by, "why": why, "action": action}
    sql.execute(wishes.insert(), {**asked, "scope": scope, "subject": subject, "value": value})


def open_wishes(sql: Connection, scope: str, *actions: Action) -> list[Wish]:
    """What was asked of a model or dataset and not answered yet, the first one first."""
    unanswered = wish_results.c.wish_id.is_(None)
    return [wish for wish in _wishes(sql, wishes.c.scope == scope, unanswered) if wish.action in actions]


def ruling(sql: Connection, model: str, round_id: str) -> Wish | None:
    """The last word of a person on a round, answered or not; None if nobody said one."""
    said = _wishes(sql, wishes.c.scope == model, wishes.c.subject == round_id)
    return next((wish for wish in reversed(said) if wish.action in ("force", "veto")), None)


def list_wishes(sql: Connection, scope: str) -> list[Wish]:
    """All that was ever asked of a model or dataset, with what became of it, the first one first."""
    return _wishes(sql, wishes.c.scope == scope)


def answer_wish(sql: Connection, wish: Wish, result: str, *, now: datetime) -> None:
    """Say what became of a wish; it is open no more."""
    insert_or_ignore(sql, wish_results, [{"wish_id": wish.id, "at": now, "result": result}])


def _wishes(sql: Connection, *conditions: Any) -> list[Wish]:
    query = (
        select(wishes, wish_results.c.result)
        .select_from(wishes.outerjoin(wish_results, wish_results.c.wish_id == wishes.c.id))
        .where(*conditions)
        .order_by(wishes.c.id)
    )
    return [Wish(*row) for row in sql.execute(query)]


def _parsed(record: DecisionRecord) -> DecisionRecord:
    numbers = json.loads(str(record.numbers))
    return DecisionRecord(
        record.round_id, record.decided_at, record.promote, record.reason, numbers, record.wish_id
    )
