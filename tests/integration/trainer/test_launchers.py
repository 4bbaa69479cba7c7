"""Where a round trains makes no difference to what it learns, and a limit ends it with a reason."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.model_spec import ModelSpec
from tidemill_contracts.samples import Sample
from tidemill_trainer.launchers.cluster_launcher import ClusterLauncher
from tidemill_trainer.launchers.clusters import ApiCall, KubernetesJobs, Machine
from tidemill_trainer.launchers.launcher import InProcess, LaunchedRecipe, TrainingFailed, TrainingJob
from tidemill_trainer.launchers.local_process import Limits, LocalProcess
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.recipes.recipe import Examples, Recipe, Score, State
from tidemill_trainer.weights import weights_digest

from tests.integration.trainer.kinds import Silent

TEXTS = [("a dull film", "bad"), ("long and dull", "bad"), ("a warm film", "good"), ("wise and warm", "good")]


class Watching(Silent):
    """Keeps what it is told, and ends the training after so many steps."""

    def __init__(self, steps_max: int | None = None) -> None:
        super().__init__()
        self.state: State | None = None
        self.train_losses: list[float] = []
        self.left = steps_max

    def keep(self, state: State) -> None:
        self.state = state

    def epoch(self, number: int, tuning: Score, *, train_loss: float) -> None:
        super().epoch(number, tuning, train_loss=train_loss)
        self.train_losses.append(train_loss)

    def step(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "name": "reviews",
            "kind": "text_classifier",
            "dataset": "reviews",
            "labels": ["bad", "good"],
            "training": {"epochs_max": 4, "batch_size": 7, "learning_rate": 0.01},
        }
    )


@pytest.fixture(scope="module")
def recipe(spec: ModelSpec) -> Recipe:
    return open_recipe(spec)


@pytest.fixture(scope="module")
def job(spec: ModelSpec, recipe: Recipe) -> TrainingJob:
    samples = [Sample(label=label, text=f"{text} {place}") for place in range(9) for text, label in TEXTS]
    examples = Examples(recipe.read(samples), recipe.targets([sample.label for sample in samples]))
    return TrainingJob(spec, None, examples, examples, seed=3)


def test_a_process_of_its_own_trains_the_same_weights_and_tells_every_epoch(
    recipe: Recipe, job: TrainingJob, tmp_path: Path
) -> None:
    here, there = Watching(), Watching()

    in_process = InProcess().train(recipe, job, here)
    elsewhere = LaunchedRecipe(job.spec, recipe, LocalProcess(tmp_path)).train(
        job.start, job.train, job.tuning, seed=job.seed, watch=there
    )

    assert weights_digest(elsewhere) == weights_digest(in_process)
    assert [score.loss for score in there.scores] == [score.loss for score in here.scores]
    assert there.state is not None
    assert list(tmp_path.iterdir()) == []


class LocalApi:
    """A cluster's API that runs the container's command of each Job here."""

    def __init__(self) -> None:
        self.calls: list[ApiCall] = []
        self.running: subprocess.Popen[bytes] | None = None

    def send(self, call: ApiCall) -> Mapping[str, Any]:
        self.calls.append(call)
        if call.method == "POST" and call.body is not None:
            [container] = call.body["spec"]["template"]["spec"]["containers"]
            self.running = subprocess.Popen([sys.executable, *container["command"][1:]])
            return call.body
        if len(self.calls) == 2:
            raise Unavailable("the API restarts")
        assert self.running is not None
        code = self.running.poll()
        ended = "Complete" if code == 0 else "Failed"
        return {"status": {"conditions": [] if code is None else [{"type": ended, "status": "True"}]}}


def test_a_job_of_a_cluster_trains_the_same_weights_and_is_removed(
    recipe: Recipe, job: TrainingJob, tmp_path: Path
) -> None:
    api, there = LocalApi(), Watching()
    cluster = KubernetesJobs(Machine("trainer:1"), "tidemill", claim="work", mount=str(tmp_path))

    weights = ClusterLauncher(cluster, api.send, tmp_path, look_every_s=0.1).train(recipe, job, there)

    assert weights_digest(weights) == weights_digest(InProcess().train(recipe, job, Watching()))
    assert len(there.scores) == 4
    assert [call.method for call in (api.calls[0], api.calls[-1])] == ["POST", "DELETE"]


def test_two_workers_train_together_what_one_trains_alone(
    recipe: Recipe, job: TrainingJob, tmp_path: Path
) -> None:
    alone, together = Watching(), Watching()

    one = InProcess().train(recipe, job, alone)
    two = LocalProcess(tmp_path, Limits(wall_s=100), workers=2).train(recipe, job, together)

    assert [each.shape for each in two] == [each.shape for each in one]
    for mine, theirs in zip(one[1:], two[1:], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    tuning_losses = [[score.loss for score in each.scores] for each in (together, alone)]
    np.testing.assert_allclose(tuning_losses[0], tuning_losses[1], atol=1e-5)
    # Each worker saw its share of the rows alone: the sum of both is told.
    np.testing.assert_allclose(together.train_losses, alone.train_losses, atol=1e-5)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(memory_bytes=512 * 2**20), "process ended with"),
        (Limits(cpu_s=1), "may use 1 processor seconds"),
        (Limits(wall_s=0.5), r"longer than 0\.5 s"),
    ],
)
def test_a_training_over_its_limit_is_ended_with_the_reason(
    recipe: Recipe, job: TrainingJob, tmp_path: Path, limits: Limits, said: str
) -> None:
    with pytest.raises(TrainingFailed, match=said):
        LocalProcess(tmp_path, limits).train(recipe, job, Watching())

    assert list(tmp_path.iterdir()) == []


def test_whoever_ends_a_training_ends_its_process(recipe: Recipe, job: TrainingJob, tmp_path: Path) -> None:
    begun_s = time.monotonic()

    with pytest.raises(KeyboardInterrupt):
        LocalProcess(tmp_path).train(recipe, job, Watching(steps_max=2))

    assert time.monotonic() - begun_s < 60
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_raises_says_why(recipe: Recipe, job: TrainingJob, tmp_path: Path) -> None:
    broken: Any = TrainingJob(
        job.spec.model_copy(update={"kind": "no_such_kind"}), None, job.train, job.tuning, 1
    )

    with pytest.raises(TrainingFailed, match="no kind 'no_such_kind'"):
        LocalProcess(tmp_path).train(recipe, broken, Watching())
