"""Opens a round when one is due: its whole snapshot is in SQL before anything is trained."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection
from tidemill_chassis.logs import get_logger
from tidemill_registry.pools import (
    ignored_samples,
    pools_mark,
    rehearsable_samples,
    unused_samples,
    waiting,
)
from tidemill_registry.records import RoundKind, RoundRecord
from tidemill_registry.round_rows import count_validation, next_number, open_round, rested_since
from tidemill_registry.sample_rows import get_samples

from tidemill_trainer.champion import Champion
from tidemill_trainer.schedule import is_retry_due, is_round_due
from tidemill_trainer.selection import Selection, obstacle, round_seed, select_new, select_retry
from tidemill_trainer.workbench import Pools, Workbench

BLOCKED = "round_blocked"

log = get_logger(__name__)


def open_due_round(bench: Workbench, champion: Champion | None) -> RoundRecord | None:
    """The round that is due now, opened; None if none is. New samples go before ignored ones.

    Raises:
        Conflict: another trainer took over.
        Unavailable: the database did not answer.
    """
    kind = _kind_due(bench)
    if kind is None:
        return None
    with bench.lease.write() as sql:
        number = next_number(sql, bench.spec.name)
        selection = _select(sql, bench, kind, number)
        labels = [row.label for row in get_samples(sql, bench.spec.dataset, selection.all_train)]
        validation_count = count_validation(sql, bench.spec.name) + len(selection.validation)
        blocked_by = obstacle(train_labels=labels, validation_count=validation_count)
        if blocked_by is not None:
            bench.tell_once(log, BLOCKED, blocked_by)
            bench.blocked[kind] = pools_mark(sql, bench.spec.name, bench.spec.dataset)
            return None
        round_ = _record(
            bench, kind, number, selection, champion, validation_count=validation_count, now=bench.clock()
        )
        open_round(sql, round_, bench.spec.dataset, selection.parts())
    bench.forget(BLOCKED)
    log.info(
        "round_opened",
        round_id=round_.id,
        kind=kind,
        train_count=round_.train_count,
        rehearsal_count=round_.rehearsal_count,
        validation_count=validation_count,
        champion_version=round_.champion_version,
    )
    return round_


def _kind_due(bench: Workbench) -> RoundKind | None:
    spec, now = bench.spec, bench.clock()
    with bench.registry.read() as sql:
        pools = _pools(sql, bench)
        if _may_open(bench, "new", pools) and is_round_due(pools.waiting, spec.round, now=now):
            return "new"
        rested = rested_since(sql, spec.name)
    retry = is_retry_due(pools.ignored_count, spec.retry, rested_since=rested, now=now)
    return "retry" if retry and _may_open(bench, "retry", pools) else None


def _may_open(bench: Workbench, kind: RoundKind, pools: Pools) -> bool:
    """Whether anything changed since such a round was found to be worth nothing."""
    return bench.blocked.get(kind) != pools.mark


def _pools(sql: Connection, bench: Workbench) -> Pools:
    """What waits, counted again only when something changed: the trainer asks every second."""
    spec = bench.spec
    mark = pools_mark(sql, spec.name, spec.dataset)
    if bench.pools is None or bench.pools.mark != mark:
        bench.pools = Pools(
            mark,
            waiting(sql, spec.name, spec.dataset, spec.labels),
            ignored_count=len(ignored_samples(sql, spec.name, spec.dataset)),
        )
    return bench.pools


def _select(sql: Connection, bench: Workbench, kind: RoundKind, number: int) -> Selection:
    spec = bench.spec
    seed = round_seed(spec.seed, number)
    ratio = spec.training.rehearsal_ratio
    rehearsable = rehearsable_samples(sql, spec.name, spec.dataset)
    if kind == "new":
        unused = unused_samples(sql, spec.name, spec.dataset, spec.labels, limit=spec.round.samples_max)
        return select_new(unused, rehearsable, rehearsal_ratio=ratio, seed=seed)
    ignored = ignored_samples(sql, spec.name, spec.dataset)
    samples_max = spec.round.samples_max
    return select_retry(ignored, rehearsable, samples_max=samples_max, rehearsal_ratio=ratio, seed=seed)


def _record(
    bench: Workbench,
    kind: RoundKind,
    number: int,
    selection: Selection,
    champion: Champion | None,
    *,
    validation_count: int,
    now: datetime,
) -> RoundRecord:
    model = bench.spec.name
    return RoundRecord(
        # The time keeps ids apart where a registry was lost and its numbers began again.
        id=f"{model}-{number}-{now:%Y%m%dT%H%M%SZ}",
        model=model,
        number=number,
        kind=kind,
        status="open",
        phase="opened",
        epoch=0,
        epochs_max=bench.spec.training.epochs_max,
        starts=0,
        seed=round_seed(bench.spec.seed, number),
        opened_at=now,
        train_count=len(selection.train),
        rehearsal_count=len(selection.rehearsal),
        validation_count=validation_count,
        champion_version=champion.version if champion else None,
    )
