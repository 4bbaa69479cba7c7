"""Does what a person wished for a round that is over: publishes its challenger after all."""

from __future__ import annotations

from dataclasses import replace

from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import NotFound
from tidemill_registry.decision_rows import (
    Wish,
    answer_wish,
    open_wishes,
    read_decisions,
    write_decision,
)
from tidemill_registry.records import RoundRecord
from tidemill_registry.round_rows import change_round, get_round, read_snapshot

from tidemill_trainer.publishing.challengers import kept_challenger
from tidemill_trainer.publishing.promotion import promote
from tidemill_trainer.recipes.recipe import Weights
from tidemill_trainer.workbench import Workbench

log = get_logger(__name__)


def answer_wish_for_closed_round(bench: Workbench) -> bool:
    """Answer the oldest wish about a round that is over; say whether there was one.

    Raises:
        Unavailable, Conflict, Interrupted: as `run_round`; the wish stays open, or the round in publication.
    """
    with bench.registry.read() as sql:
        wishes = open_wishes(sql, bench.spec.name, "force", "veto")
    if not wishes:
        return False
    wish = wishes[0]
    try:
        with bench.registry.read() as sql:
            round_ = get_round(sql, wish.subject)
    except NotFound as error:
        return _answer(bench, wish, f"not done: {error}")
    if wish.action == "veto":
        said = "it was not published" if round_.status != "promoted" else "`tidemill rollback` takes it back"
        return _answer(bench, wish, f"too late: the round is {round_.status}; {said}")
    if round_.status != "ignored":
        return _answer(
            bench, wish, f"not done: the round is {round_.status}, only an ignored one can be forced"
        )
    weights = kept_challenger(bench.store, round_)
    if weights is None:
        return _answer(bench, wish, "not done: its challenger is not kept any more")
    with bench.registry.read() as sql:
        decision = read_decisions(sql, round_.model).get(round_.id)
        is_flawed = round_.challenger_accuracy is None or round_.challenger_loss is None
    if is_flawed or decision is None:
        return _answer(bench, wish, "not done: its challenger is no working model")
    _publish(bench, wish, round_, weights)
    return True


def _publish(bench: Workbench, wish: Wish, round_: RoundRecord, weights: Weights) -> None:
    def begin() -> RoundRecord:
        with bench.lease.write() as sql:
            decision = read_decisions(sql, round_.model)[round_.id]
            reason = f"{wish.by} forced it: {wish.why} (the gate said: {decision.reason})"
            forced = replace(decision, promote=True, reason=reason, wish_id=wish.id, decided_at=bench.clock())
            write_decision(sql, forced)
            answer_wish(sql, wish, "published", now=bench.clock())
            return change_round(sql, round_.id, status="publishing", phase="publishing", reason=reason)

    changed = bench.outlast(begin)
    log.info("round_forced", round_id=round_.id, by=wish.by, why=wish.why)
    with bench.registry.read() as sql:
        validation = read_snapshot(sql, changed)["validation"]
    promote(bench, changed, weights, validation)


def _answer(bench: Workbench, wish: Wish, result: str) -> bool:
    with bench.lease.write() as sql:
        answer_wish(sql, wish, result, now=bench.clock())
    log.info("wish_answered", wish=wish.action, subject=wish.subject, by=wish.by, result=result)
    return True
