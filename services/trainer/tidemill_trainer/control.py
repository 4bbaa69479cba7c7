"""Ends the training of a cold control that can no longer be the better one."""

from __future__ import annotations

from tidemill_trainer.recipes.recipe import Score, State, Watch

BEHIND_MAX = (3.0, 2.0, 1.5, 1.25)
"""How many times the warm one's bounded tuning loss a cold start may have after epoch 1, 2, and so on;
the last holds to the end. 13,800 digits trained cold had 2.9, 1.8, 1.4 and 1.2 times their best loss."""


class Beaten(Exception):
    """The control is too far behind. score: its last one, on the tuning samples."""

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score = score


class ControlWatch:
    """Watches as `watch` does; raises Beaten once the control is far behind `warm`."""

    def __init__(self, watch: Watch, *, warm: Score) -> None:
        self._watch = watch
        self._warm_loss = warm.bounded_loss

    def step(self) -> None:
        self._watch.step()

    def epoch(self, number: int, tuning: Score, *, train_loss: float) -> None:
        self._watch.epoch(number, tuning, train_loss=train_loss)
        if tuning.bounded_loss > BEHIND_MAX[min(number, len(BEHIND_MAX)) - 1] * self._warm_loss:
            raise Beaten(tuning)

    def keep(self, state: State) -> None:
        self._watch.keep(state)

    def kept(self) -> State | None:
        return self._watch.kept()
