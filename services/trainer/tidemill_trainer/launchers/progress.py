"""Tells a watch what a job's folder tells."""

from __future__ import annotations

from pathlib import Path

from tidemill_trainer.launchers.job_folder import read_epochs, read_state
from tidemill_trainer.recipes.recipe import Watch


class Progress:
    """Each epoch once, in order, and the state to go on from."""

    def __init__(self, folder: Path, watch: Watch) -> None:
        self._folder, self._watch, self._told = folder, watch, 0

    def tell(self) -> None:
        """Tell what is new since the last time."""
        for number, score, train_loss in read_epochs(self._folder, self._told):
            state, self._told = read_state(self._folder), number
            if state is not None:
                self._watch.keep(state)
            self._watch.epoch(number, score, train_loss=train_loss)
