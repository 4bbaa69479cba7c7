"""What every launcher promises, and how a recipe is made to train by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from tidemill_contracts.model_spec import ModelSpec

from tidemill_trainer.recipes.recipe import Examples, Recipe, Watch, Weights


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """All that a training needs, wherever it runs."""

    spec: ModelSpec
    start: Weights | None
    train: Examples
    tuning: Examples
    seed: int


class Launcher(Protocol):
    """Trains somewhere."""

    def train(self, recipe: Recipe, job: TrainingJob, watch: Watch) -> Weights:
        """What `recipe.train` would give here.

        Raises:
            TrainingFailed: the job ended without weights; the text says how.
            whatever the watch raises to end the training; the job is ended before.
        """
        ...


class TrainingFailed(Exception):
    """The job ended without weights: it was killed, ran out of a limit, or raised."""


class InProcess:
    """Trains where it is called: the default."""

    def train(self, recipe: Recipe, job: TrainingJob, watch: Watch) -> Weights:
        return recipe.train(job.start, job.train, job.tuning, seed=job.seed, watch=watch)


class LaunchedRecipe:
    """A recipe that trains by a launcher and is itself in all else."""

    def __init__(self, spec: ModelSpec, recipe: Recipe, launcher: Launcher) -> None:
        self._spec, self._recipe, self._launcher = spec, recipe, launcher

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recipe, name)

    def train(
        self, start: Weights | None, train: Examples, tuning: Examples, *, seed: int, watch: Watch
    ) -> Weights:
        """See `Recipe`; raises as `Launcher.train` does."""
        job = TrainingJob(self._spec, start, train, tuning, seed)
        return self._launcher.train(self._recipe, job, watch)
