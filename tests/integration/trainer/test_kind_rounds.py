"""Rounds of sentences and of rows, by the models of models/examples as they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.envelope import to_message
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.layout import batch_name
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.model_spec import ModelSpec, load_specs
from tidemill_contracts.samples import Sample, Split
from tidemill_contracts.stored_batch import StoredMessage, encode_batch
from tidemill_registry import Registry, migrate
from tidemill_trainer.datasets import Learner, datasets_of
from tidemill_trainer.lease import LeaseKeeper
from tidemill_trainer.model_trainer import ModelTrainer
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.workbench import Workbench
from tidemill_trainer.worker import Trainer

from tests.integration.trainer.sentences import review_samples
from tests.integration.trainer.tables import table_samples

EXAMPLES = Path(__file__).parents[3] / "models" / "examples"
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


class Line:
    """A trainer of one model with a store and a registry of its own."""

    def __init__(self, spec: ModelSpec, folder: Path) -> None:
        url = f"sqlite:///{folder}/registry.db"
        migrate(url)
        self.spec, self.store, self.registry = spec, MemoryStore(), Registry.open(url)
        learner, stop = Learner(spec, open_recipe(spec)), Stop()
        lease = LeaseKeeper(self.registry, f"train/{spec.name}", duration_s=60, clock=_now)
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

    def put(self, samples: Sequence[Sample], split: Split = "train") -> None:
        event = SamplesReceived(dataset=self.spec.dataset, split=split, source="test", samples=tuple(samples))
        message = to_message(event, source="test")
        data, digest = encode_batch([StoredMessage("persistor", "1", NOON, message.attributes, message.data)])
        self.store.put(batch_name(self.spec.dataset, split, NOON, digest), data)

    def wave(self, samples: Sequence[Sample]) -> None:
        self.put(samples)
        self.trainer.idle()
        self.trainer.idle()


def _now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def make_line(tmp_path: Path) -> Iterator[Callable[[str], Line]]:
    made: list[Line] = []

    def make(model: str) -> Line:
        made.append(Line(load_specs(EXAMPLES)[model], tmp_path))
        return made[-1]

    yield make
    for line in made:
        line.trainer.release()
        line.registry.close()


def _mixed(samples: Sequence[Sample]) -> list[Sample]:
    return sorted(samples, key=lambda sample: str(sample.id))


def test_sentences_make_versions_that_know_more_words(
    make_line: Callable[[str], Line], data_folder: Path
) -> None:
    samples = _mixed(review_samples(data_folder))
    line = make_line("reviews")
    line.put(samples[:300], "test")

    line.wave(samples[300:1300])
    line.wave(samples[1300:4000])

    versions = line.registry.versions("reviews")
    assert versions
    assert line.registry.test_runs("reviews")[-1].accuracy > 0.65


@pytest.mark.parametrize(
    ("model", "label", "accuracy_min"), [("penguins", "species", 0.9), ("penguin_mass", "body_mass_g", 0.8)]
)
def test_rows_make_versions_and_a_regressions_accuracy_is_what_it_tells_of_the_variance(
    make_line: Callable[[str], Line], data_folder: Path, model: str, label: str, accuracy_min: float
) -> None:
    samples = _mixed(table_samples(data_folder / "tabular" / "penguins.csv", label))
    line = make_line(model)
    line.put(samples[:100], "test")

    line.wave(samples[100:])

    [round_] = line.registry.rounds(model)
    assert round_.status == "promoted", round_.reason
    assert line.registry.test_runs(model)[-1].accuracy > accuracy_min
