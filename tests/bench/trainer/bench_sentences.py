"""How good the classifier of texts is on film reviews: every tenth held out once, by the hash of the text.

TIDEMILL_BENCH_SEEDS: trainings per tenth, 3 unless told.
TIDEMILL_BENCH_TENTHS: such as `0 3 9`; all unless told.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tidemill_contracts.model_spec import ModelSpec, load_spec
from tidemill_contracts.samples import Sample
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.recipes.recipe import Examples

from tests.bench.trainer.bench_waves import logistic_regression
from tests.bench.trainer.waves import sentences
from tests.integration.trainer.kinds import Silent

MODELS = Path(__file__).parents[3] / "models" / "examples"
SEEDS = int(os.environ.get("TIDEMILL_BENCH_SEEDS", "3"))
TENTHS = [int(each) for each in os.environ.get("TIDEMILL_BENCH_TENTHS", "0 1 2 3 4 5 6 7 8 9").split()]
ACCURACY_MIN = 0.77
BEHIND_MAX = 0.02
"""Below TF-IDF with logistic regression on the same sentences."""


@pytest.mark.timeout(1800)
def test_every_held_tenth_is_judged_well(data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = load_spec(MODELS / "reviews.yaml").model_copy(update={"labels": ("neg", "pos")})
    ours: list[list[float]] = []
    plain: list[float] = []

    with capsys.disabled():
        print("\ntenth | by seed | TF-IDF with logistic regression | CPU s a training")
        for tenth in TENTHS:
            train, held = sentences(data_folder, tenth=tenth)
            began_s = time.process_time()
            ours.append([_accuracy(spec, train, held, seed=seed) for seed in range(1, SEEDS + 1)])
            cpu_s = (time.process_time() - began_s) / SEEDS
            plain.append(logistic_regression(train, held))
            told = ", ".join(f"{each:.4f}" for each in ours[-1])
            print(f"{tenth:5d} | {told} | {plain[-1]:.4f} | {cpu_s:.1f}", flush=True)
        found = np.array(ours)
        print(f"of {found.size} trainings: least {found.min():.4f}, mean {found.mean():.4f}")
        print(f"TF-IDF with logistic regression: least {min(plain):.4f}, mean {np.mean(plain):.4f}")

    assert found.min() >= ACCURACY_MIN
    assert (found.min(axis=1) >= np.array(plain) - BEHIND_MAX).all()


def _accuracy(spec: ModelSpec, train: Sequence[Sample], held: Sequence[Sample], *, seed: int) -> float:
    """Of one training on everything but the tenth, on the tenth."""
    recipe = open_recipe(spec)
    every, asked = (
        Examples(recipe.read(each), recipe.targets([one.label for one in each])) for each in (train, held)
    )
    tunes = np.arange(len(every)) % (100 // spec.training.tuning_percent) == 0
    fit, tuning = (every.take(np.flatnonzero(rows)) for rows in (~tunes, tunes))
    weights = recipe.train(None, fit, tuning, seed=seed, watch=Silent())
    return recipe.score(weights, asked).accuracy
