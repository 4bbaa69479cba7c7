"""Ten waves, learnt as they come, against learning everything so far from scratch at every wave, in one run.

TIDEMILL_BENCH_WAVE: samples per wave of MNIST (6,000 is all of it; less for a quicker look).
"""

from __future__ import annotations

import base64
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from tidemill.sources.idx import read_idx
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
from tidemill_trainer.recipes.recipe import Examples, Score, State
from tidemill_trainer.workbench import Workbench
from tidemill_trainer.worker import Trainer

MODELS = Path(__file__).parents[3] / "models"
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
WAVES = 10
WAVE = int(os.environ.get("TIDEMILL_BENCH_WAVE", "6000"))
STEPS_MAX = 10
SAMPLES_PER_MESSAGE = 500
BEHIND_MAX = 0.01
"""How far below training from scratch on everything the last version may end."""
GROWTH_MAX = 1.6
"""Of the cost of a wave: the last three against the middle three, when the history has doubled."""


@dataclass(frozen=True)
class Wave:
    """What one wave cost and gave, either way. rss_mb: the process's largest so far."""

    seen: int
    accuracy: float
    cpu_s: float
    scratch_accuracy: float
    scratch_cpu_s: float
    rss_mb: float


class _Unwatched:
    def step(self) -> None:
        pass

    def epoch(self, number: int, tuning: Score, *, train_loss: float) -> None:
        pass

    def keep(self, state: State) -> None:
        pass

    def kept(self) -> State | None:
        return None


def mnist(folder: Path, split: Split, count: int) -> list[Sample]:
    found = []
    for raw in read_idx(folder / "mnist", split):
        found.append(Sample(label=raw.label, image=base64.b64encode(raw.image or b"").decode()))
        if len(found) == count:
            break
    return found


def sentences(folder: Path) -> list[Sample]:
    """Reviews of films, shuffled."""
    found = [
        Sample(label=label, text=line.strip())
        for label in ("neg", "pos")
        for line in (folder / "sentiment_rt" / f"rt-polarity.{label}").read_text("latin-1").splitlines()
        if line.strip()
    ]
    order = np.random.default_rng(3).permutation(len(found))
    return [found[place] for place in order]


@pytest.mark.timeout(3600)
def test_ten_waves_of_mnist(tmp_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = load_spec(MODELS / "digits.yaml")
    limits = {"samples_min": WAVE // 2, "samples_max": max(WAVE, spec.round.samples_max), "age_s_max": 3600.0}
    spec = spec.model_copy(update={"round": spec.round.model_copy(update=limits)})
    train, test = mnist(data_folder, "train", WAVE * WAVES), mnist(data_folder, "test", 10_000)

    with capsys.disabled():
        waves = run(spec, train, test, tmp_path)
        tell("MNIST", waves)
    check(waves)


@pytest.mark.timeout(3600)
def test_ten_waves_of_sentences(
    tmp_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = sentences(data_folder)
    test, train = found[: len(found) // 10], found[len(found) // 10 :]
    spec = ModelSpec.model_validate(
        {
            "name": "reviews",
            "kind": "text_classifier",
            "dataset": "reviews",
            "labels": ["neg", "pos"],
            "round": {"samples_min": 300, "samples_max": 5000, "age_s_max": 3600},
            "training": {"rehearsal_ratio": 3.0},
            "gate": {"significance": 0.5},
        }
    )

    with capsys.disabled():
        waves = run(spec, train, test, tmp_path)
        tell("sentiment_rt", waves)
    assert waves[-1].accuracy >= waves[-1].scratch_accuracy - 0.02


def tell(name: str, waves: Sequence[Wave]) -> None:
    total, scratch = sum(each.cpu_s for each in waves), sum(each.scratch_cpu_s for each in waves)
    print(
        f"{name}, all waves: {total:.1f} CPU-s, from scratch each time {scratch:.1f}: {total / scratch:.2f}"
    )
    print(f"the last time from scratch alone: {waves[-1].scratch_cpu_s:.1f}")


def tell_wave(waves: list[Wave], wave: Wave) -> None:
    """At once: a run that is stopped has told what it found."""
    waves.append(wave)
    print(
        f"{len(waves):2d} {wave.seen:6d} {wave.accuracy:.4f} {wave.cpu_s:7.1f} | "
        f"{wave.scratch_accuracy:.4f} {wave.scratch_cpu_s:7.1f} | {wave.rss_mb:.0f}",
        flush=True,
    )


def check(waves: Sequence[Wave]) -> None:
    assert waves[-1].accuracy >= waves[-1].scratch_accuracy - BEHIND_MAX
    middle, last = (float(np.mean([each.cpu_s for each in some])) for some in (waves[3:6], waves[7:]))
    assert last <= GROWTH_MAX * middle, "the cost of a wave grows with the history"


def run(spec: ModelSpec, train: Sequence[Sample], test: Sequence[Sample], folder: Path) -> list[Wave]:
    store, registry, trainer = _line(spec, folder)
    recipe = open_recipe(spec)
    _put(spec, store, test, "test")
    size = len(train) // WAVES
    known = Examples(recipe.read(train), recipe.targets([each.label for each in train]))
    asked = Examples(recipe.read(test), recipe.targets([each.label for each in test]))
    waves: list[Wave] = []
    print("\nwave, seen, accuracy, CPU-s, | from scratch: accuracy, CPU-s | largest MB so far", flush=True)
    for number in range(1, WAVES + 1):
        _put(spec, store, train[(number - 1) * size : number * size], "train")
        began_s = time.process_time()
        for _ in range(STEPS_MAX):
            if not trainer.advance():
                break
        cpu_s = time.process_time() - began_s
        began_s = time.process_time()
        so_far = np.random.default_rng(number).permutation(number * size)
        cut = max(1, len(so_far) // 10)
        weights = recipe.train(
            None, known.take(so_far[cut:]), known.take(so_far[:cut]), seed=1, watch=_Unwatched()
        )
        scratch_cpu_s = time.process_time() - began_s
        runs = registry.test_runs(spec.name)
        tell_wave(
            waves,
            Wave(
                number * size,
                runs[-1].accuracy if runs else 0.0,
                cpu_s,
                recipe.score(weights, asked).accuracy,
                scratch_cpu_s,
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            ),
        )
    trainer.release()
    registry.close()
    return waves


def _line(spec: ModelSpec, folder: Path) -> tuple[MemoryStore, Registry, Trainer]:
    url = f"sqlite:///{folder}/registry.db"
    migrate(url)
    store, registry, stop = MemoryStore(), Registry.open(url), Stop()
    learner = Learner(spec, open_recipe(spec))
    lease = LeaseKeeper(registry, f"train/{spec.name}", duration_s=60, clock=_now)
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
    return store, registry, trainer


def _now() -> datetime:
    return datetime.now(UTC)


def _put(spec: ModelSpec, store: MemoryStore, samples: Sequence[Sample], split: Split) -> None:
    messages = []
    for start in range(0, len(samples), SAMPLES_PER_MESSAGE):
        some = tuple(samples[start : start + SAMPLES_PER_MESSAGE])
        event = SamplesReceived(dataset=spec.dataset, split=split, source="bench", samples=some)
        data = event.model_dump_json(exclude_none=True).encode()
        messages.append(StoredMessage("persistor", str(start), NOON, {}, data))
    encoded, digest = encode_batch(messages)
    store.put(batch_name(spec.dataset, split, NOON, digest), encoded)
