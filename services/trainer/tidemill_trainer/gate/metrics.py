"""What a gate measures by: the share of right answers, or the loss."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill_contracts.model_spec import Metric

from tidemill_trainer.gate.significance import Paired, bootstrap_p, compare
from tidemill_trainer.recipes.recipe import Score

PRICE_P_MAX = 0.05
"""A lower loss does not make up for an accuracy that fell, if chance gives such a fall with at most this."""


@dataclass(frozen=True)
class Measured:
    """A challenger beside its champion, by one metric.

    now, then: what the challenger has, and the champion. gain: how much better it is; below 0 worse.
    paired: the test of the gain. price: what it would surely cost in another metric; None if nothing.
    """

    metric: Metric
    now: float
    then: float
    gain: float
    paired: Paired
    price: str | None = None

    @property
    def better(self) -> str:
        """The gain in words, if it is one."""
        moved = "accuracy rose" if self.metric == "accuracy" else "the loss fell"
        return f"{moved} from {self.then:.4f} to {self.now:.4f}"

    def short(self, gain_min: float) -> str:
        """In words, why it is not enough."""
        where = "above" if self.metric == "accuracy" else "below"
        enough = f"{gain_min:g} {where}" if gain_min else where
        return f"{self.metric} {self.now:.4f} is not {enough} the champion's {self.then:.4f}"


def compare_by(metric: Metric, challenger: Score, champion: Score, *, seed: int) -> Measured:
    """Both scores are of the same samples, in the same order."""
    now, then = challenger.accuracy, champion.accuracy
    if metric == "accuracy":
        paired = compare(challenger.merits, champion.merits, seed=seed)
        return Measured(metric, now, then, now - then, paired)
    before, after = champion.bounded_losses, challenger.bounded_losses
    falls = before - after
    paired = Paired("paired bootstrap of losses", bootstrap_p(falls, seed=seed))
    price = None
    if now < then:
        p_value = compare(champion.merits, challenger.merits, seed=seed).p_value
        if p_value <= PRICE_P_MAX:
            price = f"accuracy fell from {then:.4f} to {now:.4f}, by chance with p = {p_value:.3f} only"
    return Measured(metric, float(after.mean()), float(before.mean()), float(falls.mean()), paired, price)
