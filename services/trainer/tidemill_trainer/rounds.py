"""Runs an open round to its end: read, train, evaluate, decide, publish, close.

Whatever happens on the way, the round can be run again from its snapshot, with the same outcome.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import Conflict, Corrupt, TidemillError, Unavailable
from tidemill_registry.batches import quarantine
from tidemill_registry.decision_rows import (
    DecisionRecord,
    Wish,
    answer_wish,
    ruling,
    write_decision,
)
from tidemill_registry.records import RoundRecord
from tidemill_registry.round_rows import change_round, read_snapshot

from tidemill_trainer.champion import Champion, load_champion
from tidemill_trainer.closing import close_round
from tidemill_trainer.examples import CorruptObject
from tidemill_trainer.gate import Decision, Evidence, decide
from tidemill_trainer.monitoring.drift import reference
from tidemill_trainer.publishing.challengers import keep_challenger
from tidemill_trainer.publishing.promotion import finish_promotion, promote
from tidemill_trainer.reports.round_log import write_round_log
from tidemill_trainer.training import Material, gather, measure, train
from tidemill_trainer.weights import weights_digest
from tidemill_trainer.workbench import Interrupted, Workbench

STARTS_MAX = 20
"""A round that was begun this often without an end, because it takes the process down, is given up."""

log = get_logger(__name__)


def run_round(bench: Workbench, round_: RoundRecord) -> RoundRecord:
    """Bring the round to its end; return it closed.

    Raises:
        Interrupted: the process should end; the round stays open.
        Unavailable: something did not answer for long; the round stays open.
        Conflict: another trainer took over, or changed what this one was changing; the round stays open.
    """
    if round_.status == "publishing":
        finished = finish_promotion(bench, round_)
        if finished is not None:
            return finished
    try:
        return _run(bench, round_)
    except (Interrupted, Unavailable, Conflict):
        raise
    except CorruptObject as error:
        log.error("object_quarantined", error=error, object=error.name)
        with bench.lease.write() as sql:
            quarantine(sql, error.name, str(error))
        return close_round(bench, round_, "failed", reason=str(error))
    except TidemillError as error:
        log.error("round_failed", error=error, round_id=round_.id)
        return close_round(bench, round_, "failed", reason=str(error))
    except Exception as error:  # noqa: BLE001  (a fault in a recipe must not stop the other models)
        log.error("round_failed", error=error, round_id=round_.id)
        return close_round(bench, round_, "failed", reason=f"{type(error).__name__}: {error}"[:500])


def _run(bench: Workbench, round_: RoundRecord) -> RoundRecord:
    clock = _Stopwatch()
    round_ = note(bench, round_, status="open", phase="reading", epoch=0, starts=round_.starts + 1)
    if round_.starts > STARTS_MAX:
        return close_round(bench, round_, "failed", reason=f"begun {STARTS_MAX} times without an end")
    champion = _champion_of(bench, round_)
    with bench.registry.read() as sql:
        snapshot = read_snapshot(sql, round_)
    material = gather(bench, snapshot)
    note(bench, round_, phase="training")
    weights, told, epochs = train(bench, round_, material, champion)
    note(bench, round_, phase="evaluating")
    evidence = measure(bench, round_, material, weights, champion)
    decision = decide(evidence, bench.spec.gate)
    remembered = reference(material.fit.inputs, evidence.challenger.predicted, bench.spec.labels)
    further = {
        "reference": remembered,
        "spec": bench.spec.model_dump(mode="json"),
        "weights_sha256": weights_digest(weights),
    }
    decision = replace(decision, numbers={**decision.numbers, **told, **further})
    write_round_log(bench, round_, epochs, evidence)
    round_, decision = _write_down(bench, round_, evidence, decision, clock.read())
    if not decision.promote:
        keep_challenger(bench, round_, weights)
        losses = _losses(bench, material, champion)
        return close_round(bench, round_, "ignored", losses=losses)
    return promote(bench, round_, weights, snapshot["validation"])


def overrule(decision: Decision, wish: Wish | None) -> Decision:
    """The decision after a person has spoken; what is no model is forced through by nobody."""
    if wish is None or (wish.action == "force" and decision.flawed):
        return decision
    said = f"{wish.by} {'forced' if wish.action == 'force' else 'vetoed'} it: {wish.why}"
    reason = f"{said} (the gate said: {decision.reason})"
    return replace(decision, promote=wish.action == "force", reason=reason)


def _write_down(
    bench: Workbench, round_: RoundRecord, evidence: Evidence, decision: Decision, spent: dict[str, float]
) -> tuple[RoundRecord, Decision]:
    """The round with its scores, and the decision after a person's word, in one transaction with it."""
    champion = evidence.champion

    def write() -> tuple[RoundRecord, Decision]:
        with bench.lease.write() as sql:
            wish = ruling(sql, round_.model, round_.id)
            final = overrule(decision, wish)
            now = bench.clock()
            wish_id = wish.id if wish else None
            write_decision(
                sql, DecisionRecord(round_.id, now, final.promote, final.reason, final.numbers, wish_id)
            )
            if wish is not None:
                answer_wish(sql, wish, final.reason, now=now)
            changed = change_round(
                sql,
                round_.id,
                challenger_accuracy=_number(evidence.challenger.accuracy),
                challenger_loss=_number(evidence.challenger.loss),
                champion_accuracy=champion.accuracy if champion else None,
                champion_loss=champion.loss if champion else None,
                reason=final.reason,
                **spent,
            )
            return changed, final

    return bench.outlast(write)


def _number(value: float) -> float | None:
    """None for what is no number: PostgreSQL and JSON do not agree on it."""
    return value if math.isfinite(value) else None


def _losses(bench: Workbench, material: Material, champion: Champion | None) -> dict[str, float]:
    """By sample, how much trouble the champion has with it: what a retry may rank by."""
    if champion is None or "loss_ranked" not in bench.spec.retry.groupings:
        return {}
    found = bench.learner.recipe.score(champion.weights, material.fit).losses
    ids = [row.sample_id for row in material.fit_rows]
    return {each: float(loss) for each, loss in zip(ids, found, strict=True) if math.isfinite(loss)}


def note(bench: Workbench, round_: RoundRecord, **values: Any) -> RoundRecord:
    """Write down how far the round is."""

    def write() -> RoundRecord:
        with bench.lease.write() as sql:
            return change_round(sql, round_.id, **values)

    return bench.outlast(write)


def _champion_of(bench: Workbench, round_: RoundRecord) -> Champion | None:
    """The champion that the round was opened against, whoever is champion now."""
    if round_.champion_version is None:
        return None
    champion = load_champion(bench.learner, bench.store, round_.champion_version)
    if champion is None:
        raise Corrupt(f"version {round_.champion_version} no longer fits the model's YAML")
    return champion


class _Stopwatch:
    def __init__(self) -> None:
        self._wall_s = time.monotonic()
        self._cpu_s = time.process_time()

    def read(self) -> dict[str, float]:
        """Wall and processor seconds of this process since the start."""
        seconds, cpu_seconds = time.monotonic() - self._wall_s, time.process_time() - self._cpu_s
        return {"seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3)}
