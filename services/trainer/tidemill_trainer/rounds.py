"""Runs an open round to its end: read, train, evaluate, decide, publish, close.

Whatever happens on the way, the round can be run again from its snapshot, with the same outcome.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import Conflict, Corrupt, TidemillError, Unavailable
from tidemill_registry.batches import get_objects, quarantine
from tidemill_registry.records import RoundRecord, SampleRow
from tidemill_registry.round_rows import Snapshot, change_round, read_snapshot

from tidemill_trainer.champion import Champion, load_champion
from tidemill_trainer.closing import close_round
from tidemill_trainer.examples import CorruptObject, load_examples
from tidemill_trainer.gate import Decision, decide
from tidemill_trainer.promotion import finish_promotion, promote
from tidemill_trainer.recipes.recipe import Examples, Score, State, Weights
from tidemill_trainer.roles import tunes
from tidemill_trainer.selection import obstacle
from tidemill_trainer.training_state import TrainingState
from tidemill_trainer.workbench import Interrupted, Workbench

STARTS_MAX = 20
"""A round that was begun this often without an end, because it takes the process down, is given up."""

log = get_logger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What training gave, and what the gate says to it."""

    weights: Weights
    challenger: Score
    champion: Score | None
    decision: Decision


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
    outcome = _train(bench, round_, snapshot, champion)
    scores: dict[str, Any] = {
        "challenger_accuracy": outcome.challenger.accuracy,
        "challenger_loss": outcome.challenger.loss,
        "champion_accuracy": outcome.champion.accuracy if outcome.champion else None,
        "champion_loss": outcome.champion.loss if outcome.champion else None,
        "reason": outcome.decision.reason,
        **clock.read(),
    }
    if not outcome.decision.promote:
        return close_round(bench, round_, "ignored", **scores)
    round_ = note(bench, round_, **scores)
    golden = snapshot["validation"]
    return promote(bench, round_, outcome.weights, outcome.challenger, outcome.champion, golden)


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


def _train(bench: Workbench, round_: RoundRecord, snapshot: Snapshot, champion: Champion | None) -> Outcome:
    train_rows = sorted([*snapshot["train"], *snapshot["rehearsal"]], key=lambda row: row.sample_id)
    validation_rows = snapshot["validation"]
    labels = [row.label for row in train_rows]
    blocked_by = obstacle(train_labels=labels, validation_count=len(validation_rows))
    if blocked_by is not None:
        raise Corrupt(f"of the round's samples too few are left: {blocked_by}")
    with bench.registry.read() as sql:
        objects = get_objects(sql, {row.object for row in [*train_rows, *validation_rows]})
    fit_rows, tuning_rows = _part_tuning(train_rows, bench.spec.training.tuning_percent)
    train = load_examples(bench.learner, bench.store, fit_rows, objects, step=bench.step)
    tuning = load_examples(bench.learner, bench.store, tuning_rows, objects, step=bench.step)
    validation = load_examples(bench.learner, bench.store, validation_rows, objects, step=bench.step)

    recipe = bench.learner.recipe
    note(bench, round_, phase="training")
    start = champion.weights if champion else None
    watch = _RoundWatch(bench, round_, TrainingState(bench.work, bench.spec, round_, train_rows))
    weights = recipe.train(start, train, tuning, seed=round_.seed, watch=watch)
    note(bench, round_, phase="evaluating")
    challenger = recipe.score(weights, validation)
    defender = recipe.score(champion.weights, validation) if champion else None
    decision = decide(
        challenger=challenger,
        champion=defender,
        sample_count=len(validation),
        majority_share=_majority_share(validation),
        gain_min=bench.spec.gate.gain_min,
    )
    return Outcome(weights, challenger, defender, decision)


def _majority_share(examples: Examples) -> float:
    return float(max((examples.targets == target).mean() for target in set(examples.targets.tolist())))


def _part_tuning(rows: Sequence[SampleRow], percent: int) -> tuple[list[SampleRow], list[SampleRow]]:
    """The rows to train on, and those that choose the epoch; neither is empty if there are two rows."""
    tuning = [row for row in rows if tunes(row.digest, tuning_percent=percent)]
    if not tuning or len(tuning) == len(rows):
        tuning = [min(rows, key=lambda row: row.digest)]
    chosen = {row.sample_id for row in tuning}
    return [row for row in rows if row.sample_id not in chosen] or list(rows), tuning


class _RoundWatch:
    """Stops training when it should stop, writes down every epoch, keeps what is needed to go on."""

    def __init__(self, bench: Workbench, round_: RoundRecord, state: TrainingState) -> None:
        self._bench = bench
        self._round = round_
        self._state = state

    def step(self) -> None:
        self._bench.step()

    def epoch(self, number: int, tuning: Score, *, train_loss: float) -> None:
        measures = {**tuning.measures, "train_loss": train_loss}
        log.info("epoch_done", round_id=self._round.id, epoch=number, **measures)
        try:
            with self._bench.lease.write() as sql:
                change_round(sql, self._round.id, epoch=number)
        except Unavailable as error:
            log.warning("progress_not_written", error=error, round_id=self._round.id)

    def keep(self, state: State) -> None:
        self._state.write(state)

    def kept(self) -> State | None:
        return self._state.read()


class _Stopwatch:
    def __init__(self) -> None:
        self._wall_s = time.monotonic()
        self._cpu_s = time.process_time()

    def read(self) -> dict[str, float]:
        """Wall and processor seconds of this process since the start."""
        seconds, cpu_seconds = time.monotonic() - self._wall_s, time.process_time() - self._cpu_s
        return {"seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3)}
