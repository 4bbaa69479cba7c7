"""The inbox of triggers: what happened that may call for a round, each thing once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, delete, func, select, update

from tidemill_registry.round_tables import triggers
from tidemill_registry.statements import insert_or_ignore

TriggerKind = Literal["event", "reconcile", "schedule", "drift"]
KEPT_DAYS = 30
"""How long a trigger that was handled is kept for people to look at."""


@dataclass(frozen=True)
class Trigger:
    """Something that happened. key: the same again is the same trigger, whoever tells of it.

    urgent: the round does not wait for more samples. missed_count: times of a schedule that went by unseen.
    """

    model: str
    key: str
    kind: TriggerKind
    at: datetime
    urgent: bool = False
    missed_count: int = 0


def add_triggers(sql: Connection, found: Iterable[Trigger]) -> None:
    """Put triggers into the inbox. Idempotent: one that came before, handled or not, is left alone."""
    insert_or_ignore(sql, triggers, [vars(each) for each in found])


def is_urgent(sql: Connection, model: str) -> bool:
    """Whether a trigger waits that wants a round now."""
    query = select(func.count()).where(
        triggers.c.model == model, triggers.c.handled_at.is_(None), triggers.c.urgent
    )
    return bool(sql.scalar(query))


def waiting_triggers(sql: Connection, model: str) -> int:
    """How many triggers no round has answered yet."""
    query = select(func.count()).where(triggers.c.model == model, triggers.c.handled_at.is_(None))
    return sql.scalar(query) or 0


def handle_triggers(sql: Connection, model: str, round_id: str | None, *, now: datetime) -> None:
    """All that wait are answered by one round: in the transaction that opens it."""
    mine = triggers.c.model == model
    answered = {"handled_at": now, "round_id": round_id}
    sql.execute(update(triggers).where(mine, triggers.c.handled_at.is_(None)).values(answered))
    sql.execute(delete(triggers).where(mine, triggers.c.handled_at < now - timedelta(days=KEPT_DAYS)))


def triggers_of_round(sql: Connection, round_id: str) -> list[Trigger]:
    """What woke a round, the first one first."""
    query = (
        select(
            triggers.c.model,
            triggers.c.key,
            triggers.c.kind,
            triggers.c.at,
            triggers.c.urgent,
            triggers.c.missed_count,
        )
        .where(triggers.c.round_id == round_id)
        .order_by(triggers.c.at, triggers.c.key)
    )
    return [Trigger(*row) for row in sql.execute(query)]
