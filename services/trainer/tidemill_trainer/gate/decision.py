"""Decides on a challenger from two scores on the same samples. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tidemill_contracts.model_spec import GateSpec

from tidemill_trainer.gate.guards import Agreement, diverged, unfit_validation
from tidemill_trainer.gate.metrics import compare_by
from tidemill_trainer.recipes.recipe import Score, Targets, Weights

SIGMAS_MIN = 2.0
"""A first version must beat guessing by this many standard errors of the measured share."""


@dataclass(frozen=True)
class Decision:
    """Whether the challenger is published, why in one sentence, and the numbers behind it.

    flawed: the challenger is no model, or nothing was measured; nobody may force it through.
    """

    promote: bool
    reason: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    flawed: bool = False


@dataclass(frozen=True)
class Evidence:
    """What the gate looks at. targets: of the validation samples; labels: none for a regression.

    doubt: why the round's data is not to be believed, found before training. agreement: the champion's with
        the labels that nobody looked at before; None where it was not asked or cannot tell.
    """

    challenger: Score
    champion: Score | None
    targets: Targets
    weights: Weights
    labels: Sequence[str]
    seed: int
    doubt: str | None = None
    agreement: Agreement | None = None


def decide(evidence: Evidence, gate: GateSpec) -> Decision:
    """Guards first, then the gain, then chance, then every class."""
    flaw = unfit_validation(evidence.targets) or diverged(evidence.weights, evidence.challenger)
    if flaw is not None:
        return Decision(False, flaw, {"guard": flaw}, flawed=True)
    numbers = _numbers(evidence)
    if evidence.doubt is not None:
        return Decision(False, evidence.doubt, {**numbers, "guard": evidence.doubt})
    if evidence.champion is None:
        return _first(evidence, gate, numbers)
    return _against(evidence, evidence.champion, gate, numbers)


def chance_of(targets: Targets) -> float:
    """The accuracy of always saying the same: the most frequent label, or the mean, whose R² is 0."""
    if targets.dtype.kind == "f":
        return 0.0
    return float(np.unique(targets, return_counts=True)[1].max() / len(targets))


def _numbers(evidence: Evidence) -> dict[str, Any]:
    return {
        "validation_samples": len(evidence.targets),
        "challenger": evidence.challenger.measures,
        "champion": evidence.champion.measures if evidence.champion else None,
        "chance": chance_of(evidence.targets),
        "classes": class_measures(evidence),
        "agreement": vars(evidence.agreement) if evidence.agreement else None,
    }


def class_measures(evidence: Evidence) -> dict[str, dict[str, float | int | None]]:
    """By label: how many validation samples it has, and which share of them either model had right."""
    found: dict[str, dict[str, float | int | None]] = {}
    for place, label in enumerate(evidence.labels):
        mine = evidence.targets == place
        count = int(mine.sum())
        if count:
            champion = evidence.champion
            found[label] = {
                "samples": count,
                "challenger": float(evidence.challenger.merits[mine].mean()),
                "champion": float(champion.merits[mine].mean()) if champion else None,
            }
    return found


def _first(evidence: Evidence, gate: GateSpec, numbers: dict[str, Any]) -> Decision:
    chance, count, reached = numbers["chance"], len(evidence.targets), evidence.challenger.accuracy
    error = math.sqrt(chance * (1 - chance) / count) or 1 / math.sqrt(count)
    needed = chance + max(gate.gain_min, SIGMAS_MIN * error)
    said = (
        f"without a champion {needed:.4f} is needed on {count} validation samples, "
        f"the challenger has {reached:.4f}"
    )
    low = _below_floor(numbers, gate)
    return Decision(reached >= needed and low is None, low or said, {**numbers, "needed": needed})


def _against(evidence: Evidence, champion: Score, gate: GateSpec, numbers: dict[str, Any]) -> Decision:
    measured = compare_by(gate.metric, evidence.challenger, champion, seed=evidence.seed)
    numbers = {**numbers, "metric": gate.metric, "gain": measured.gain, **vars(measured.paired)}
    on_samples = f"on {len(evidence.targets)} validation samples"
    # Shares of the same count differ by whole samples; rounding must not decide.
    if measured.gain < gate.gain_min - 1e-9:
        return Decision(False, f"{measured.short(gate.gain_min)} {on_samples}", numbers)
    better = f"{measured.better} {on_samples}"
    if measured.paired.p_value > gate.significance:
        chance = f"which chance alone gives with p = {measured.paired.p_value:.3f} ({measured.paired.test})"
        return Decision(False, f"{better}, {chance}: over {gate.significance:g}", numbers)
    low = measured.price or _below_floor(numbers, gate)
    if low is not None:
        return Decision(False, f"{better}, but {low}", numbers)
    return Decision(True, better, numbers)


def _below_floor(numbers: Mapping[str, Any], gate: GateSpec) -> str | None:
    """The first class that the challenger has too little of, in words."""
    for label, measured in numbers["classes"].items():
        if measured["samples"] < gate.class_samples_min:
            continue
        reached, before = measured["challenger"], measured["champion"]
        if reached < gate.class_floor:
            return f"of class {label} only {reached:.3f} are right, below the floor of {gate.class_floor:g}"
        if before is not None and before - reached > gate.class_drop_max + 1e-9:
            return (
                f"class {label} fell from {before:.3f} to {reached:.3f}, by more than {gate.class_drop_max:g}"
            )
    return None
