"""Opens a round when one is due: its whole snapshot is in SQL before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection
from tidemill_chassis.logs import get_logger
from tidemill_registry.decision_rows import believed_samples
from tidemill_registry.pools import (
    ignored_samples,
    pools_mark,
    rehearsable_samples,
    unused_samples,
    waiting,
)
from tidemill_registry.records import Grouping, Ignored, RoundKind, RoundRecord
from tidemill_registry.round_rows import (
    count_validation,
    next_number,
    open_round,
    relabelled_validation,
    rested_since,
    retry_history,
)
from tidemill_registry.sample_rows import get_samples
from tidemill_registry.trigger_rows import Trigger, add_triggers, handle_triggers, is_urgent

from tidemill_trainer.champion import Champion
from tidemill_trainer.chores import ALL, Chore
from tidemill_trainer.schedule import is_retry_due, is_round_due, missed_times, retry_rest
from tidemill_trainer.selection import Selection, obstacle, round_seed, select_new, select_retry
from tidemill_trainer.workbench import Pools, Workbench

BLOCKED = "round_blocked"

log = get_logger(__name__)


def open_due_round(
    bench: Workbench, champion: Champion | None, chores: frozenset[Chore] = ALL
) -> RoundRecord | None:
    """The round that is due now, opened; None if none is. New samples go before ignored ones.

    chores: which kinds of rounds may be opened.

    Raises:
        Conflict: another trainer took over.
        Unavailable: the database did not answer.
    """
    kind = _kind_due(bench, chores)
    if kind is None:
        return None
    with bench.lease.write() as sql:
        number = next_number(sql, bench.spec.name)
        selection = _select(sql, bench, kind, number)
        labels = [row.label for row in get_samples(sql, bench.spec.dataset, selection.all_train)]
        known = set(relabelled_validation(sql, bench.spec.name))
        fresh = [each for each in selection.validation if each not in known]
        validation_count = count_validation(sql, bench.spec.name) + len(fresh)
        blocked_by = obstacle(train_labels=labels, validation_count=validation_count)
        if blocked_by is not None:
            bench.tell_once(log, BLOCKED, blocked_by)
            bench.blocked[kind] = pools_mark(sql, bench.spec.name, bench.spec.dataset)
            return None
        grouping = _grouping(sql, bench) if kind == "retry" else None
        round_ = _record(
            bench, kind, number, selection, champion, validation_count=validation_count, now=bench.clock()
        )
        round_ = replace(round_, grouping=grouping)
        if kind == "retry":
            _note_schedule(sql, bench, round_)
        open_round(sql, round_, bench.spec.dataset, selection.parts())
        handle_triggers(sql, bench.spec.name, round_.id, now=round_.opened_at)
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


def _kind_due(bench: Workbench, chores: frozenset[Chore]) -> RoundKind | None:
    spec, now = bench.spec, bench.clock()
    with bench.registry.read() as sql:
        pools = _pools(sql, bench)
        urgent = is_urgent(sql, spec.name)
        due = is_round_due(pools.waiting, spec.round, now=now, urgent=urgent)
        if due and "rounds" in chores and _may_open(bench, "new", pools):
            return "new"
        if "retries" not in chores:
            return None
        rested = rested_since(sql, spec.name)
        _, unhelpful = retry_history(sql, spec.name)
    retry = is_retry_due(pools.ignored_count, spec.retry, rested_since=rested, now=now, unhelpful=unhelpful)
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
        selection = select_new(unused, rehearsable, rehearsal_ratio=ratio, seed=seed)
    else:
        selection = select_retry(
            _ignored(sql, bench, number),
            rehearsable,
            grouping=_grouping(sql, bench),
            turn=retry_history(sql, spec.name)[0],
            folds=spec.retry.folds,
            samples_min=spec.retry.samples_min,
            samples_max=spec.round.samples_max,
            rehearsal_ratio=ratio,
            seed=seed,
        )
    corrected = relabelled_validation(sql, spec.name)
    return replace(selection, validation=tuple(sorted({*selection.validation, *corrected})))


def _ignored(sql: Connection, bench: Workbench, number: int) -> list[Ignored]:
    """What waits for the retry of this number, with what the gate thought of its labels."""
    model, dataset = bench.spec.name, bench.spec.dataset
    found = ignored_samples(sql, model, dataset)
    believed = believed_samples(sql, model, dataset, [each.sample_id for each in found], before=number)
    return [replace(each, believed=each.sample_id in believed) for each in found]


def _grouping(sql: Connection, bench: Workbench) -> Grouping:
    """The groupings of the YAML take turns."""
    groupings = bench.spec.retry.groupings
    return groupings[retry_history(sql, bench.spec.name)[0] % len(groupings)]


def _note_schedule(sql: Connection, bench: Workbench, round_: RoundRecord) -> None:
    """The retry's time, and the times before it that nobody was there for, as one trigger."""
    rested = rested_since(sql, round_.model)
    if rested is None:
        return
    rest = retry_rest(bench.spec.retry, unhelpful=retry_history(sql, round_.model)[1])
    missed = missed_times(rested, rest, now=round_.opened_at)
    key = f"schedule/retry/{rested + rest:%Y%m%dT%H%M%S.%fZ}"
    add_triggers(sql, [Trigger(round_.model, key, "schedule", round_.opened_at, missed_count=missed)])


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
        epochs_max=bench.spec.training.epochs(len(selection.all_train), warm=champion is not None),
        starts=0,
        seed=round_seed(bench.spec.seed, number),
        opened_at=now,
        train_count=len(selection.train),
        rehearsal_count=len(selection.rehearsal),
        validation_count=validation_count,
        champion_version=champion.version if champion else None,
    )
