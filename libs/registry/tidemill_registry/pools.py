"""Which samples a model has not used, has used, or has put aside."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Connection, and_, exists, func, select
from sqlalchemy.sql.selectable import FromClause

from tidemill_registry.doubt_rows import undisputed
from tidemill_registry.records import Ignored, PoolCounts, Role, Waiting
from tidemill_registry.round_tables import label_claims
from tidemill_registry.tables import objects, rounds, sample_uses, samples

_SOUND: FromClause = samples.join(
    objects, and_(objects.c.name == samples.c.object, objects.c.fault.is_(None))
)
_ARRIVAL = (samples.c.seen_at, samples.c.object, samples.c.message_position, samples.c.sample_position)


def waiting(sql: Connection, model: str, dataset: str, labels: Sequence[str]) -> Waiting:
    """How many samples wait for a round of the model, and since when."""
    query = (
        select(samples.c.label, samples.c.role, func.count(), func.min(samples.c.seen_at))
        .select_from(_SOUND)
        .where(*_unused(model, dataset))
        .group_by(samples.c.label, samples.c.role)
    )
    groups = [row for row in sql.execute(query) if is_wanted(row[0], labels)]
    return Waiting(
        train_count=sum(count for _, role, count, _ in groups if role == "train"),
        validation_count=sum(count for _, role, count, _ in groups if role == "validation"),
        oldest_at=min((seen_at for *_, seen_at in groups), default=None),
    )


def unused_samples(
    sql: Connection, model: str, dataset: str, labels: Sequence[str], *, limit: int
) -> list[tuple[str, Role]]:
    """Ids and roles of at most `limit` waiting samples: of each label the same share, the oldest first.

    Where more wait than fit, a stream that is sorted by label would otherwise give rounds of one label each.
    """
    by_label = samples.c.label
    place = func.row_number().over(partition_by=by_label, order_by=_ARRIVAL)
    count = func.count().over(partition_by=by_label)
    query = (
        select(samples.c.sample_id, samples.c.role, samples.c.label)
        .select_from(_SOUND)
        .where(*_unused(model, dataset))
        .order_by(place * 1.0 / count, by_label, samples.c.sample_id)
    )
    wanted = frozenset(labels)
    found: list[tuple[str, Role]] = []
    for sample_id, role, label in sql.execute(query):
        if len(found) >= limit:
            break
        if is_wanted(label, wanted):
            found.append((sample_id, role))
    return found


def ignored_samples(sql: Connection, model: str, dataset: str) -> list[Ignored]:
    """The samples that wait for a retry, by id."""
    query = (
        select(sample_uses.c.sample_id, sample_uses.c.attempts, samples.c.label, sample_uses.c.loss)
        .select_from(_SOUND.join(sample_uses, _SAME_SAMPLE))
        .where(*_in_state(model, dataset, "ignored"), undisputed())
        .order_by(sample_uses.c.sample_id)
    )
    return [Ignored(*row) for row in sql.execute(query)]


def rehearsable_samples(sql: Connection, model: str, dataset: str) -> list[str]:
    """Ids of the training samples that helped an earlier version, by id."""
    query = (
        select(sample_uses.c.sample_id)
        .select_from(_SOUND.join(sample_uses, _SAME_SAMPLE))
        .where(*_in_state(model, dataset, "used"), samples.c.role == "train", undisputed())
    )
    # Put in order here: with ORDER BY, SQLite walks every use by its key instead of those in this state, and
    # a round's opening over 60,000 samples costs twice as much.
    return sorted(sql.scalars(query))


def pools_mark(sql: Connection, model: str, dataset: str) -> tuple[int, ...]:
    """Changes whenever `waiting` or `ignored_samples` may; costs little where they cost much."""
    of_dataset = select(func.count()).where(objects.c.dataset == dataset)
    closed = select(func.count()).where(rounds.c.model == model, rounds.c.closed_at.is_not(None))
    return (
        sql.scalar(of_dataset.where(objects.c.indexed_at.is_not(None))) or 0,
        sql.scalar(of_dataset.where(objects.c.fault.is_not(None))) or 0,
        sql.scalar(closed) or 0,
        sql.scalar(
            select(func.count()).where(
                label_claims.c.dataset == dataset, label_claims.c.resolved_at.is_not(None)
            )
        )
        or 0,
    )


def is_wanted(label: str, labels: Collection[str]) -> bool:
    """Whether a model of these labels learns from the label; one that lists none, a regression, from all."""
    return not labels or label in labels


def count_pools(sql: Connection, model: str, dataset: str) -> PoolCounts:
    """How many samples are in each pool."""
    states = (
        select(sample_uses.c.state, func.count())
        .where(sample_uses.c.model == model, sample_uses.c.dataset == dataset)
        .group_by(sample_uses.c.state)
    )
    counts: dict[str, int] = dict(sql.execute(states).all())
    fresh = sql.scalar(select(func.count()).select_from(_SOUND).where(*_unused(model, dataset)))
    return PoolCounts(new=fresh or 0, **counts)


_SAME_SAMPLE = and_(
    sample_uses.c.dataset == samples.c.dataset, sample_uses.c.sample_id == samples.c.sample_id
)


def _unused(model: str, dataset: str) -> tuple[ColumnElement[bool], ...]:
    """Samples that may train or validate and stand in no round of the model."""
    used = exists().where(sample_uses.c.model == model, _SAME_SAMPLE)
    return samples.c.dataset == dataset, samples.c.role.in_(("train", "validation")), ~used, undisputed()


def _in_state(model: str, dataset: str, state: str) -> tuple[ColumnElement[bool], ...]:
    return sample_uses.c.model == model, sample_uses.c.dataset == dataset, sample_uses.c.state == state
