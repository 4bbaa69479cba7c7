"""What makes a measurement worth nothing, whatever it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tidemill_registry.records import SampleRow

from tidemill_trainer.recipes.recipe import Score, Targets, Weights

AGREEMENT_SAMPLES_MIN = 20
"""With fewer new samples, agreement says nothing."""


def diverged(weights: Weights, score: Score) -> str | None:
    """Why the challenger is no model; None if it is one."""
    numbers = [each for each in weights if each.dtype.kind == "f"]
    whole = all(np.isfinite(each).all() for each in numbers)
    if whole and np.isfinite(score.merits).all() and np.isfinite(score.losses).all():
        return None
    return "the challenger's score is not a number: its training diverged"


def unfit_validation(targets: Targets) -> str | None:
    """Why the validation samples can decide nothing; None if they can."""
    if len(targets) == 0:
        return "there are no validation samples"
    if np.all(targets == targets[0]):
        return f"all {len(targets)} validation samples have the same label: they tell no model from another"
    return None


def leaked(train: Sequence[SampleRow], validation: Sequence[SampleRow]) -> str | None:
    """Why the snapshot would flatter the challenger; None if it is clean."""
    strangers = {row.role for row in train} - {"train"}
    if strangers:
        return f"samples of role {', '.join(sorted(strangers))} stand among those to train on"
    shared = {row.digest for row in train} & {row.digest for row in validation}
    if shared:
        return f"{len(shared)} contents stand on both sides, in training and in validation"
    return None


@dataclass(frozen=True)
class Agreement:
    """How often the champion agrees with labels, as shares. samples: of the new ones, so many were asked.

    doubt: why the new labels are not to be believed; None if they are.
    """

    new: float
    earlier: float
    samples: int
    doubt: str | None


def agreement(on_new: Score, on_known: Score, *, chance: float, agreement_min: float) -> Agreement | None:
    """What a round's own labels are worth; None where the champion cannot tell.

    on_new, on_known: the champion's scores on samples that are new to it, and on those that validated before.
    A batch whose labels were shuffled is one on which a good champion does hardly better than chance.
    chance: what always saying the most frequent label would score.
    agreement_min: share of its skill beyond chance that the champion must keep on the new samples.
    """
    count, skill = len(on_new.merits), on_known.accuracy - chance
    if count < AGREEMENT_SAMPLES_MIN or skill <= 0:
        return None
    doubt = None
    if on_new.accuracy - chance < agreement_min * skill:
        doubt = (
            f"the champion agrees with {on_new.accuracy:.1%} of the new labels and with "
            f"{on_known.accuracy:.1%} of earlier ones: they look shuffled or of another world"
        )
    return Agreement(on_new.accuracy, on_known.accuracy, count, doubt)
