"""Trains the job in a folder: ``python -m tidemill_trainer.launchers.job FOLDER``.

With `TF_CONFIG` in the environment it is one of several workers, which train one model together; every one
sees the same folder, and the first one writes into it.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tidemill_trainer.launchers.job_folder import (
    FAILURE,
    read_job,
    read_state,
    write_epoch,
    write_state,
    write_weights,
)
from tidemill_trainer.recipes.recipe import Score, State


class FolderWatch:
    """Tells the folder how far training is; only the first worker writes."""

    def __init__(self, folder: Path, *, writes: bool) -> None:
        self._folder, self._writes = folder, writes

    def step(self) -> None:
        """Whoever wants the training to end ends the process."""

    def epoch(self, number: int, tuning: Score, *, train_loss: float) -> None:
        if self._writes:
            write_epoch(self._folder, number, tuning, train_loss)

    def keep(self, state: State) -> None:
        if self._writes:
            write_state(self._folder, state)

    def kept(self) -> State | None:
        return read_state(self._folder)


def run(folder: Path) -> None:
    """Train; leave the weights, or what went wrong, in the folder."""
    from tidemill_trainer.recipes.runtime import tf

    config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    is_first = config.get("task", {}).get("index", 0) == 0
    # Before anything else of TensorFlow's: workers must find each other at the start.
    scope: Any = tf.distribute.MultiWorkerMirroredStrategy().scope() if config else nullcontext()
    try:
        from tidemill_trainer.recipes import open_recipe

        job = read_job(folder)
        watch = FolderWatch(folder, writes=is_first)
        with scope:
            weights = open_recipe(job.spec).train(
                job.start, job.train, job.tuning, seed=job.seed, watch=watch
            )
        if is_first:
            write_weights(folder, weights)
    except Exception as error:
        (folder / FAILURE).write_text(f"{type(error).__name__}: {error}"[:2000])
        raise


if __name__ == "__main__":
    run(Path(sys.argv[1]))
