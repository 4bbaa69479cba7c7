"""The gate: whether a challenger is published."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tidemill_trainer.recipes.recipe import Score

SIGMAS_MIN = 2.0
"""A first version must beat guessing by this many standard errors of the measured share."""


@dataclass(frozen=True)
class Decision:
    """Whether the challenger is published, and why in one sentence."""

    promote: bool
    reason: str


def decide(
    *, challenger: Score, champion: Score | None, sample_count: int, majority_share: float, gain_min: float
) -> Decision:
    """Compare two scores on the same `sample_count` validation samples.

    majority_share: of the most frequent label; what always guessing it would score.
    gain_min: how much better than the champion the challenger's accuracy must be.
    """
    if not (math.isfinite(challenger.accuracy) and math.isfinite(challenger.loss)):
        return Decision(False, "the challenger's score is not a number: its training diverged")
    on_samples = f"on {sample_count} validation samples"
    reached = f"{challenger.accuracy:.4f}"
    if champion is None:
        error = math.sqrt(majority_share * (1 - majority_share) / sample_count)
        needed = majority_share + max(gain_min, SIGMAS_MIN * error)
        said = f"without a champion {needed:.4f} is needed {on_samples}, the challenger has {reached}"
        return Decision(challenger.accuracy >= needed, said)
    # Shares of the same count differ by whole samples; rounding must not decide.
    better = challenger.accuracy - champion.accuracy >= gain_min - 1e-9
    if better:
        return Decision(True, f"accuracy rose from {champion.accuracy:.4f} to {reached} {on_samples}")
    said = f"accuracy {reached} is not {gain_min:g} above the champion's {champion.accuracy:.4f} {on_samples}"
    return Decision(False, said)
