"""A training that nobody follows."""

from __future__ import annotations

from tidemill_trainer.recipes.recipe import Score, State


class Unwatched:
    """See `Watch`: lets everything pass and keeps nothing."""

    def step(self) -> None:
        pass

    def epoch(self, number: int, tuning: Score, *, train_loss: float) -> None:
        pass

    def keep(self, state: State) -> None:
        pass

    def kept(self) -> State | None:
        return None
