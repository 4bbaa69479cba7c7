"""Ten waves, learnt as they come, against learning everything so far from scratch at every wave, in one run.

TIDEMILL_BENCH_WAVE: samples per wave of MNIST (6,000 is all of it; less for a quicker look).
TIDEMILL_BENCH_SCRATCH: `each` wave of MNIST is learnt afresh too, or only the `last`, in a third of the time.
TIDEMILL_BENCH_PICTURES: the folder for results and pictures; a run that is stopped leaves what it had.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tidemill_contracts.model_spec import ModelSpec, RetrySpec, load_spec
from tidemill_contracts.samples import Sample
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.recipes.recipe import Examples
from tidemill_trainer.roles import role_of

from tests.bench.trainer.wave_line import BETWEEN_S, WaveLine
from tests.bench.trainer.waves import HEAD, Result, Scratch, draw, mnist, sentences, tell
from tests.integration.trainer.kinds import Silent

ROOT = Path(__file__).parents[3]
WAVES = 10
ALL_OF_MNIST = 6000
WAVE = int(os.environ.get("TIDEMILL_BENCH_WAVE", str(ALL_OF_MNIST)))
EACH = os.environ.get("TIDEMILL_BENCH_SCRATCH", "each") == "each"
PICTURES = Path(os.environ.get("TIDEMILL_BENCH_PICTURES", ROOT / ".bench"))
RETRY_WAVES = 3
"""So many waves does what was ignored rest before its first retry: retries are to be rarer than rounds."""
MNIST_ACCURACY_MIN = 0.992
MNIST_BEHIND_MAX = 0.0015
"""How far below one training on everything the last version may end."""
MNIST_CPU_MAX = 1.3
"""Of all ten waves together, by one wave with everything."""
QUICK_BEHIND_MAX = 0.01
"""With fewer samples: a look, no promise."""
TENTH = 0
"""Of the film reviews, by the hash of their text, that is held for testing."""
REVIEWS_ACCURACY_MIN = 0.77
REVIEWS_BEHIND_MAX = 0.02
"""Below TF-IDF with logistic regression on the same sentences."""


@pytest.mark.timeout(3600)
def test_ten_waves_of_mnist(tmp_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = paced(load_spec(ROOT / "models" / "digits.yaml"), WAVE)
    train, test = mnist(data_folder, "train", WAVE * WAVES), mnist(data_folder, "test", 10_000)

    with capsys.disabled():
        result = run("MNIST", spec, train, test, tmp_path)
        line = WaveLine(paced(spec, WAVE * WAVES), tmp_path / "once", test)
        once = line.feed(train)
        line.close()
        result.once = Scratch(once.accuracy, once.cpu_s)
        ratio = result.cpu_s / once.cpu_s
        keep(result, spec)
        print("\n".join(result.sums()), flush=True)
        afresh(result, spec, train, test, [WAVES, *range(1, WAVES)] if EACH else [WAVES])
        show(result, spec)

    last = result.waves[-1].accuracy
    if WAVE < ALL_OF_MNIST:
        assert last >= once.accuracy - QUICK_BEHIND_MAX
        return
    assert last >= MNIST_ACCURACY_MIN
    assert last >= once.accuracy - MNIST_BEHIND_MAX
    assert ratio <= MNIST_CPU_MAX


@pytest.mark.timeout(1800)
def test_ten_waves_of_sentences(
    tmp_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = sentences(data_folder, tenth=TENTH)
    spec = load_spec(ROOT / "models" / "examples" / "reviews.yaml")
    spec = paced(spec.model_copy(update={"labels": ("neg", "pos")}), len(train) // WAVES)

    with capsys.disabled():
        result = run("sentiment_rt", spec, train, test, tmp_path)
        afresh(result, spec, train, test, range(1, WAVES + 1))
        result.plain = logistic_regression(train, test)
        show(result, spec)

    last = result.waves[-1].accuracy
    assert last >= REVIEWS_ACCURACY_MIN
    assert last >= result.plain - REVIEWS_BEHIND_MAX


def paced(spec: ModelSpec, wave: int) -> ModelSpec:
    """The same model, for waves of this size, each of which is a round; an ignored one rests for three."""
    pace = spec.round.model_copy(update={"samples_min": max(1, wave // 2), "samples_max": wave})
    retry = RetrySpec(every_s=RETRY_WAVES * BETWEEN_S, samples_min=max(1, wave // 10))
    return spec.model_copy(update={"round": pace, "retry": retry})


def run(name: str, spec: ModelSpec, train: Sequence[Sample], test: Sequence[Sample], folder: Path) -> Result:
    """The waves, told and kept as they are learnt."""
    print(f"\n{name}\n{HEAD}", flush=True)
    line, size = WaveLine(spec, folder / "line", test), len(train) // WAVES
    result = Result(name)
    for number in range(1, WAVES + 1):
        result.waves.append(line.feed(train[(number - 1) * size : number * size]))
        keep(result, spec)
        print(tell(number, result.waves[-1], None), flush=True)
    for each in sorted(line.registry.rounds(spec.name), key=lambda each: each.number):
        print(f"{each.number:4d} {each.kind} {each.status}, {each.cpu_seconds:.1f} CPU-s: {each.reason}")
    line.close()
    return result


def afresh(
    result: Result,
    spec: ModelSpec,
    train: Sequence[Sample],
    test: Sequence[Sample],
    numbers: Sequence[int],
) -> None:
    """From scratch on all that had come, at each of these waves."""
    recipe, fresh = open_recipe(spec), Fresh(spec, train, test)
    for number in numbers:
        wave = result.waves[number - 1]
        result.scratch[wave.seen] = fresh.train(recipe, wave.seen)
        keep(result, spec)
        print(tell(number, wave, result.scratch[wave.seen]), flush=True)


def keep(result: Result, spec: ModelSpec) -> None:
    result.write(PICTURES / f"waves-{spec.name}.json")


def show(result: Result, spec: ModelSpec) -> None:
    """All of it once more, side by side, and as a picture."""
    keep(result, spec)
    print(result.table(), flush=True)
    draw(PICTURES / f"waves-{spec.name}.svg", result)


class Fresh:
    """Trains from nothing. Only the training counts, not the reading before it nor the measuring behind it.

    Learns from the samples that the line may learn from: those that validate there are left out here too.
    """

    def __init__(self, spec: ModelSpec, train: Sequence[Sample], test: Sequence[Sample]) -> None:
        self._spec = spec
        self._train, self._test = train, test
        percent = spec.split.validation_percent
        self._roles = np.array(
            [role_of(str(each.id), "train", validation_percent=percent) for each in train], object
        )

    def train(self, recipe, seen: int) -> Scratch:
        examples, asked = self._examples(recipe, self._train[:seen]), self._examples(recipe, self._test)
        mine = np.flatnonzero(self._roles[:seen] == "train")
        tunes = np.arange(len(mine)) % (100 // self._spec.training.tuning_percent) == 0
        began_s = time.process_time()
        weights = recipe.train(
            None,
            examples.take(mine[~tunes]),
            examples.take(mine[tunes]),
            seed=self._spec.seed,
            watch=Silent(),
        )
        cpu_s = time.process_time() - began_s
        return Scratch(recipe.score(weights, asked).accuracy, cpu_s)

    def _examples(self, recipe, samples: Sequence[Sample]) -> Examples:
        return Examples(recipe.read(samples), recipe.targets([each.label for each in samples]))


def logistic_regression(train: Sequence[Sample], test: Sequence[Sample]) -> float:
    """What everybody would try first, learnt once on everything."""
    words = TfidfVectorizer()
    regression = LogisticRegression(max_iter=1000).fit(
        words.fit_transform([str(each.text) for each in train]), [each.label for each in train]
    )
    asked = words.transform([str(each.text) for each in test])
    return float(regression.score(asked, [each.label for each in test]))
