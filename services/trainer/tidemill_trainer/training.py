"""Trains a round's challenger and measures it beside its champion, from the round's snapshot alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import Corrupt, Unavailable
from tidemill_registry.batches import get_objects
from tidemill_registry.decision_rows import believed_samples
from tidemill_registry.records import RoundRecord, SampleRow
from tidemill_registry.round_rows import Snapshot, change_round, own_ids

from tidemill_trainer.champion import Champion
from tidemill_trainer.control import Beaten, ControlWatch
from tidemill_trainer.examples import load_parts
from tidemill_trainer.gate.decision import Evidence, chance_of
from tidemill_trainer.gate.guards import Agreement, agreement, leaked
from tidemill_trainer.recipes.recipe import Examples, Score, State, Weights
from tidemill_trainer.roles import tunes
from tidemill_trainer.selection import judges, obstacle
from tidemill_trainer.training_state import TrainingState
from tidemill_trainer.workbench import Workbench

AGREEMENT_SAMPLES_MAX = 500
"""New samples on which the champion's agreement is measured."""
log = get_logger(__name__)


@dataclass(frozen=True)
class Material:
    """A round's data: rows as SQL has them, and the same as the recipe reads them.

    fit: what trains; tuning: what chooses the epoch; validation: what the gate looks at.
    """

    fit_rows: list[SampleRow]
    validation_rows: list[SampleRow]
    fit: Examples
    tuning: Examples
    validation: Examples


@dataclass
class Epochs:
    """What training told, epoch by epoch, for whoever draws it later. control: of a cold start beside it."""

    main: list[dict[str, float]] = field(default_factory=list)
    control: list[dict[str, float]] = field(default_factory=list)


def gather(bench: Workbench, snapshot: Snapshot) -> Material:
    """Read the round's samples.

    Raises:
        Corrupt: too few of them are left.
        CorruptObject, Unavailable, Interrupted, Conflict: as `load_parts`.
    """
    train_rows = sorted([*snapshot["train"], *snapshot["rehearsal"]], key=lambda row: row.sample_id)
    validation_rows = judges(snapshot["validation"], bench.spec.gate.validation_max)
    blocked_by = obstacle(
        train_labels=[row.label for row in train_rows], validation_count=len(validation_rows)
    )
    if blocked_by is not None:
        raise Corrupt(f"of the round's samples too few are left: {blocked_by}")
    unread = bench.validation.unread(validation_rows)
    with bench.registry.read() as sql:
        objects = get_objects(sql, {row.object for row in [*train_rows, *unread]})
    fit_rows, tuning_rows = part_tuning(train_rows, bench.spec.training.tuning_percent)

    fit, tuning, fresh = load_parts(
        bench.learner,
        bench.store,
        [fit_rows, tuning_rows, unread],
        objects,
        step=bench.step,
        scratch=bench.work,
    )
    recipe, scratch = bench.learner.recipe, bench.work
    validation = bench.validation.complete(validation_rows, fresh.inputs, recipe, scratch=scratch)
    return Material(fit_rows, validation_rows, fit, tuning, validation)


def part_tuning(rows: Sequence[SampleRow], percent: int) -> tuple[list[SampleRow], list[SampleRow]]:
    """The rows to train on, and those that choose the epoch; neither is empty if there are two rows."""
    tuning = [row for row in rows if tunes(row.digest, tuning_percent=percent)]
    if not tuning or len(tuning) == len(rows):
        tuning = [min(rows, key=lambda row: row.digest)]
    chosen = {row.sample_id for row in tuning}
    return [row for row in rows if row.sample_id not in chosen] or list(rows), tuning


def train(
    bench: Workbench, round_: RoundRecord, material: Material, champion: Champion | None
) -> tuple[Weights, dict[str, Any], Epochs]:
    """The challenger's weights, what is to be told of a cold control, and the epochs.

    Every `gate.control_every` rounds a cold start is trained too; the better one on the tuning samples is the
    challenger, so that a line that lost its way is left. A cold one far behind does not run to its end.
    """
    recipe, epochs = bench.learner.recipe, Epochs()
    rows, spec = material.fit_rows, bench.spec

    def watch(name: str, told: list[dict[str, float]]) -> _RoundWatch:
        return _RoundWatch(bench, round_, TrainingState(bench.work, spec, round_, rows, name), told)

    start = champion.weights if champion else None
    warm = recipe.train(
        start, material.fit, material.tuning, seed=round_.seed, watch=watch("main", epochs.main)
    )
    every = spec.gate.control_every
    if champion is None or every == 0 or round_.number % every:
        return warm, {}, epochs
    scores = {"warm": recipe.score(warm, material.tuning)}
    control, cold = ControlWatch(watch("control", epochs.control), warm=scores["warm"]), None
    try:
        cold = recipe.train(None, material.fit, material.tuning, seed=round_.seed ^ 1, watch=control)
        scores["cold"] = recipe.score(cold, material.tuning)
    except Beaten as beaten:
        scores["cold"] = beaten.score
    better = (
        "cold" if cold is not None and scores["cold"].bounded_loss < scores["warm"].bounded_loss else "warm"
    )
    told = {name: score.measures for name, score in scores.items()}
    log.info(
        "cold_control", round_id=round_.id, better=better, **{f"{k}_loss": v["loss"] for k, v in told.items()}
    )
    chosen = cold if cold is not None and better == "cold" else warm
    return chosen, {"control": {**told, "better": better, "beaten": cold is None}}, epochs


def measure(
    bench: Workbench, round_: RoundRecord, material: Material, weights: Weights, champion: Champion | None
) -> Evidence:
    """Both models on the same validation samples, and what speaks against the data."""
    recipe = bench.learner.recipe
    challenger = recipe.score(weights, material.validation)
    defender = recipe.score(champion.weights, material.validation) if champion else None
    doubt, agreed = leaked(material.fit_rows, material.validation_rows), None
    if doubt is None and champion is not None and defender is not None:
        agreed = _agreement(bench, round_, material, champion, defender)
        doubt = agreed.doubt if agreed else None
    return Evidence(
        challenger=challenger,
        champion=defender,
        targets=material.validation.targets,
        weights=weights,
        labels=bench.spec.labels,
        seed=round_.seed,
        doubt=doubt,
        agreement=agreed,
    )


def _agreement(
    bench: Workbench, round_: RoundRecord, material: Material, champion: Champion, defender: Score
) -> Agreement | None:
    """Whether the champion finds the round's own samples as it found those that validated before.

    Those whose labels an earlier round was let to believe are not asked again: they were ignored for another
    reason, and a retry that gathers the hard ones of them would be taken for shuffled.
    """
    with bench.registry.read() as sql:
        new = own_ids(sql, round_.id, "validation")
        own = own_ids(sql, round_.id, "train")
        fresh = own - believed_samples(sql, bench.spec.name, bench.spec.dataset, own, before=round_.number)
    known = [place for place, row in enumerate(material.validation_rows) if row.sample_id not in new]
    places = [place for place, row in enumerate(material.fit_rows) if row.sample_id in fresh]
    if not known or not places:
        return None
    chosen = random.Random(round_.seed).sample(places, min(len(places), AGREEMENT_SAMPLES_MAX))  # noqa: S311
    on_new = bench.learner.recipe.score(champion.weights, material.fit.take(np.array(sorted(chosen))))
    at = np.array(known)
    on_known = Score(defender.merits[at], defender.losses[at], defender.predicted[at])
    return agreement(
        on_new,
        on_known,
        chance=chance_of(material.validation.targets[at]),
        agreement_min=bench.spec.gate.agreement_min,
    )


class _RoundWatch:
    """Stops training when it should stop, writes down every epoch, keeps what is needed to go on."""

    def __init__(
        self, bench: Workbench, round_: RoundRecord, state: TrainingState, told: list[dict[str, float]]
    ) -> None:
        self._bench = bench
        self._round = round_
        self._state = state
        self._told = told

    def step(self) -> None:
        self._bench.step()

    def epoch(self, number: int, tuning: Score, *, train_loss: float) -> None:
        measures = {**tuning.measures, "train_loss": train_loss}
        self._told.append({"epoch": float(number), **measures})
        log.info("epoch_done", round_id=self._round.id, epoch=number, **measures)
        if self._bench.only_looks:
            return
        try:
            with self._bench.lease.write() as sql:
                change_round(sql, self._round.id, epoch=number)
        except Unavailable as error:
            log.warning("progress_not_written", error=error, round_id=self._round.id)

    def keep(self, state: State) -> None:
        if not self._bench.only_looks:
            self._state.write(state)

    def kept(self) -> State | None:
        return None if self._bench.only_looks else self._state.read()
