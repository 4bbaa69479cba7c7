"""Rounds of real digits through the real recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.layout import version_prefix
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.model_spec import ModelSpec
from tidemill_contracts.samples import Sample
from tidemill_registry import Registry, migrate
from tidemill_trainer.datasets import Learner, datasets_of
from tidemill_trainer.lease import LeaseKeeper
from tidemill_trainer.model_trainer import ModelTrainer
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.reproduction import reproduce
from tidemill_trainer.weights import PATH as WEIGHTS
from tidemill_trainer.workbench import Workbench
from tidemill_trainer.worker import Trainer


class Line:
    """A trainer of digits with a store and a registry of its own."""

    def __init__(self, spec: ModelSpec, folder: Path) -> None:
        url = f"sqlite:///{folder}/registry.db"
        migrate(url)
        self.store = MemoryStore()
        self.registry = Registry.open(url)
        learner, stop = Learner(spec, open_recipe(spec)), Stop()
        lease = LeaseKeeper(self.registry, "train/digits", duration_s=60, clock=_now)
        bench = Workbench(learner, self.registry, self.store, MemoryBus(), lease, _now, stop, folder / "work")
        self.trainer = Trainer(
            registry=self.registry,
            store=self.store,
            datasets=datasets_of([learner]),
            models=[ModelTrainer(bench)],
            reconcile_s=0,
            clock=_now,
            stop=stop,
        )


def _now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def make_line(tmp_path: Path, spec: ModelSpec) -> Iterator[Callable[[], Line]]:
    made: list[Line] = []

    def make() -> Line:
        made.append(Line(spec, tmp_path / str(len(made))))
        return made[-1]

    yield make
    for line in made:
        line.trainer.release()
        line.registry.close()


def test_waves_of_digits_make_better_and_better_versions(
    make_line: Callable[[], Line], digit_samples: list[Sample], put: Callable[..., str]
) -> None:
    line = make_line()
    put(line.store, digit_samples[4000:], "test")

    for start in (0, 600, 1200):
        put(line.store, digit_samples[start : start + 600])
        line.trainer.idle()
        line.trainer.idle()

    rounds = line.registry.rounds("digits")
    assert [each.status for each in rounds[:2]] == ["promoted", "promoted"]
    assert rounds[1].champion_version == 1
    assert (rounds[1].challenger_accuracy or 0) > (rounds[1].champion_accuracy or 1)
    runs = line.registry.test_runs("digits")
    assert [run.version for run in runs] == [each.version for each in line.registry.versions("digits")]
    assert runs[-1].sample_count == 1000
    assert runs[-1].accuracy >= 0.93
    assert runs[-1].accuracy > runs[0].accuracy


def test_the_same_digits_give_the_same_decision_and_the_same_weights(
    make_line: Callable[[], Line], digit_samples: list[Sample], put: Callable[..., str]
) -> None:
    lines = [make_line(), make_line()]
    for line in lines:
        put(line.store, digit_samples[:400])
        line.trainer.idle()

    found: list[Any] = []
    for line in lines:
        (round_,) = line.registry.rounds("digits")
        prefix = version_prefix("digits", 1)
        files = {name: line.store.get(prefix + name) for name in (WEIGHTS, "saved_model.pb")}
        found.append((round_.reason, round_.challenger_loss, files))
    assert found[0] == found[1]
    line = lines[1]
    again = reproduce(line.registry.rounds("digits")[0].id, registry=line.registry, store=line.store)
    assert (again.same_decision, again.same_weights) == (True, True)
