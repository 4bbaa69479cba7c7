"""Ends the training of a cold control that can no longer be the better one."""

from __future__ import annotations

from tidemill_trainer.recipes.recipe import Score, State, Watch

EPOCHS_MIN = 3
"""A cold start is not judged before."""
BEHIND_MAX = 1.5
"""Of the warm one's tuning loss. Digits trained cold lose a fifth from the third epoch to the tenth."""


class Beaten(Exception):
    """The control is too far behind. score: its last one, on the tuning samples."""

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score = score


class ControlWatch:
    """Watches as `watch` does; raises Beaten once the control is far behind `warm`."""

    def __init__(self, watch: Watch, *, warm: Score) -> None:
        self._watch = watch
        self._loss_max = BEHIND_MAX * warm.loss

    def step(self) -> None:
        self._watch.step()

    def epoch(self, number: int, tuning: Score, *, train_loss: float) -> None:
        self._watch.epoch(number, tuning, train_loss=train_loss)
        if number >= EPOCHS_MIN and tuning.loss > self._loss_max:
            raise Beaten(tuning)

    def keep(self, state: State) -> None:
        self._watch.keep(state)

    def kept(self) -> State | None:
        return self._watch.kept()
