"""A whole trainer without TensorFlow: real registry, memory bus and store, and a recipe in plain NumPy."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sqlalchemy
from sqlalchemy import Connection
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.bus import Message
from tidemill_contracts.envelope import to_message
from tidemill_contracts.events import BatchStored, SamplesReceived
from tidemill_contracts.golden import Golden, GoldenInput, GoldenOutput
from tidemill_contracts.layout import batch_name
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.model_spec import ModelSpec
from tidemill_contracts.objects import ObjectInfo
from tidemill_contracts.samples import Sample, Split
from tidemill_contracts.stored_batch import StoredMessage, encode_batch
from tidemill_registry import Registry
from tidemill_trainer.datasets import Learner, datasets_of
from tidemill_trainer.lease import LeaseKeeper
from tidemill_trainer.model_trainer import ModelTrainer
from tidemill_trainer.recipes.recipe import (
    Examples,
    Score,
    Targets,
    Watch,
    Weights,
    classification_score,
    label_positions,
)
from tidemill_trainer.workbench import Workbench
from tidemill_trainer.worker import Trainer

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
LEASE_S = 600.0


class PointsRecipe:
    """Softmax regression on the columns x and y of a row, by plain gradient descent.

    epochs: as the YAML says, until a test says otherwise.
    blind: trains nothing, so that a challenger is never better than its champion.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._labels = spec.labels
        self._classes = len(spec.labels)
        self.epochs = spec.training.epochs_max
        self.blind = False

    def faults(self, samples: Sequence[Sample]) -> list[str | None]:
        return [None if sample.row and {"x", "y"} <= set(sample.row) else "no x, y" for sample in samples]

    def read(self, samples: Sequence[Sample]) -> npt.NDArray[Any]:
        rows = [sample.row or {} for sample in samples]
        return np.array([[row["x"], row["y"], 1.0] for row in rows], np.float64).reshape(-1, 3)

    def targets(self, labels: Sequence[str]) -> Targets:
        return label_positions(labels, self._labels)

    def train(
        self, start: Weights | None, train: Examples, tuning: Examples, *, seed: int, watch: Watch
    ) -> Weights:
        weights = start[0].copy() if start else np.random.default_rng(seed).normal(0, 0.01, self._shape)
        wanted = np.eye(self._classes)[train.targets.astype(int)]
        kept = watch.kept()
        done = 0
        if kept is not None:
            weights, done = kept["weights"].copy(), int(kept["epoch"])
        for epoch in range(done + 1, self.epochs + 1):
            watch.step()
            if not self.blind:
                wrong = _softmax(train.inputs @ weights) - wanted
                weights -= 0.5 * train.inputs.T @ wrong / len(train)
            watch.keep({"weights": weights, "epoch": np.array(epoch)})
            watch.epoch(epoch, self.score([weights], tuning), train_loss=0.0)
        return [weights]

    def score(self, weights: Weights, examples: Examples) -> Score:
        with np.errstate(divide="ignore"):
            return classification_score(np.log(_softmax(examples.inputs @ weights[0])), examples.targets)

    def fits(self, weights: Weights) -> bool:
        return [each.shape for each in weights] == [self._shape]

    def golden(self, weights: Weights, samples: Sequence[Sample]) -> Golden:
        inputs = self.read(samples)
        answers = _softmax(inputs @ weights[0])
        given = GoldenInput(dtype="float64", shape=inputs.shape, values=tuple(inputs.ravel().tolist()))
        output = GoldenOutput(shape=answers.shape, values=tuple(answers.ravel().tolist()))
        return Golden(inputs={"points": given}, outputs={"probabilities": output})

    def export(self, weights: Weights, folder: Path) -> None:
        (folder / "variables").mkdir()
        (folder / "variables" / "weights").write_bytes(weights[0].tobytes())
        (folder / "saved_model.pb").write_bytes(b"model")

    @property
    def _shape(self) -> tuple[int, int]:
        return 3, self._classes


def _softmax(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    result: npt.NDArray[Any] = raised / raised.sum(axis=1, keepdims=True)
    return result


def _unsynchronised(connection: sqlite3.Connection, _record: Any) -> None:
    """Processes die here, the machine's power does not: no commit waits for the disk."""
    connection.execute("PRAGMA synchronous = OFF")


class PowerCut(BaseException):
    """The process dies here: nothing of it goes on, nothing is caught."""


class Fuse:
    """Lets so many effects happen, before and after each of which the process may die."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        if self.left is None:
            return
        if self.left == 0:
            raise PowerCut
        self.left -= 1


class FusedStore(MemoryStore):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse

    def put(self, name: str, data: bytes, *, if_generation: int | None = None) -> ObjectInfo:
        self.fuse.burn()
        written = super().put(name, data, if_generation=if_generation)
        self.fuse.burn()
        return written


class FusedBus(MemoryBus):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        self.fuse.burn()
        return super().publish(topic, messages)


class FusedRegistry(Registry):
    fuse: Fuse | None = None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        if self.fuse is not None:
            self.fuse.burn()
        with super().write() as sql:
            yield sql
        if self.fuse is not None:
            self.fuse.burn()


@dataclass
class World:
    """A trainer's surroundings, with a clock that moves only when told."""

    spec: ModelSpec
    recipe: PointsRecipe
    registry: FusedRegistry
    store: FusedStore
    bus: FusedBus
    fuse: Fuse
    work: Path
    now: datetime = NOON
    stop: Stop = field(default_factory=Stop)
    trainers: list[ModelTrainer] = field(default_factory=list)

    def clock(self) -> datetime:
        return self.now

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def put(
        self,
        samples: Sequence[Sample],
        split: Split = "train",
        *,
        source: str = "test",
        announce: bool = True,
    ) -> str:
        """One message of samples in one batch object, and the news of it."""
        return self.put_messages([self.message(samples, split, source)], split, announce=announce)

    def message(self, samples: Sequence[Sample], split: Split = "train", source: str = "test") -> Message:
        """One message of samples, as a producer sends it."""
        event = SamplesReceived(dataset=self.spec.dataset, split=split, source=source, samples=tuple(samples))
        return to_message(event, source="test")

    def put_messages(
        self, messages: Sequence[Message], split: Split = "train", *, announce: bool = True
    ) -> str:
        stored = [
            StoredMessage("persistor", str(number), NOON, message.attributes, message.data)
            for number, message in enumerate(messages)
        ]
        data, digest = encode_batch(stored)
        name = batch_name(self.spec.dataset, split, NOON, digest)
        self.store.put(name, data)
        if announce:
            batch = BatchStored(
                dataset=self.spec.dataset,
                split=split,
                object=name,
                size_bytes=len(data),
                sha256="0" * 64,
                message_count=len(stored),
                sample_count=1,
                first_publish_time=NOON,
                last_publish_time=NOON,
            )
            self.bus.publish(BatchStored.topic, [to_message(batch, source="test")])
        return name

    def bench(self, **changed: Any) -> Workbench:
        """What a freshly started process works with."""
        parts: dict[str, Any] = {
            "learner": self.learner,
            "registry": self.registry,
            "store": self.store,
            "bus": self.bus,
            "lease": LeaseKeeper(self.registry, "train/points", duration_s=LEASE_S, clock=self.clock),
            "clock": self.clock,
            "stop": self.stop,
            "work": self.work,
        }
        return Workbench(**{**parts, **changed})

    @property
    def learner(self) -> Learner:
        return Learner(self.spec, self.recipe)

    def start(self, *, reconcile_s: float = 0.0) -> Trainer:
        """A trainer as `main` composes it; `idle` is one turn of its loop."""
        model = ModelTrainer(self.bench())
        self.trainers.append(model)
        return Trainer(
            registry=self.registry,
            store=self.store,
            datasets=datasets_of([self.learner]),
            models=[model],
            reconcile_s=reconcile_s,
            clock=self.clock,
            stop=self.stop,
        )


MakeWorld = Callable[..., World]


class Registries:
    """Databases that tests have one after the other.

    What SQL a statement is, its engine works out once; for every test anew it takes longer than to run it.
    """

    def __init__(self, folder: Path, empty: Path) -> None:
        self._folder = folder
        self._empty = empty
        self._free: list[FusedRegistry] = []
        self._files: dict[FusedRegistry, Path] = {}
        self._as_made: dict[FusedRegistry, dict[str, Any]] = {}

    def take(self) -> FusedRegistry:
        """One with empty tables."""
        registry = self._free.pop() if self._free else self._open()
        file = self._files[registry]
        for old in file.parent.glob("*"):
            old.unlink()
        shutil.copy(self._empty, file)
        return registry

    def give_back(self, registry: FusedRegistry) -> None:
        """It is as it was made, whatever a test replaced in it."""
        registry.close()
        vars(registry).clear()
        vars(registry).update(self._as_made[registry])
        self._free.append(registry)

    def _open(self) -> FusedRegistry:
        folder = self._folder / str(len(self._files))
        folder.mkdir()
        registry = FusedRegistry.open(f"sqlite:///{folder}/registry.db")
        sqlalchemy.event.listen(registry._database._engine, "connect", _unsynchronised)
        self._files[registry] = folder / "registry.db"
        self._as_made[registry] = dict(vars(registry))
        return registry


@pytest.fixture(scope="session")
def registries(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> Registries:
    return Registries(tmp_path_factory.mktemp("registries"), empty_registry)


@pytest.fixture
def make_world(tmp_path: Path, registries: Registries) -> Iterator[MakeWorld]:
    made: list[World] = []

    def make(**changes: Mapping[str, object]) -> World:
        """changes: parts of the model's YAML, such as ``retry={"every_s": 5}``."""
        parts: dict[str, Any] = {
            "name": "points",
            "kind": "points",
            "dataset": "points",
            "labels": ["left", "right"],
            "seed": 1,
            "split": {"validation_percent": 30},
            "round": {"samples_min": 40, "samples_max": 200, "age_s_max": 60},
            "training": {"epochs_max": 5},
            "retry": {"every_s": 100, "samples_min": 20, "attempts_max": 2, "widening": 1},
            "test": {"every_s": 50},
            "gate": {"significance": 1},
        }
        spec = ModelSpec.model_validate({**parts, **changes})
        folder = tmp_path / str(len(made))
        folder.mkdir()
        registry = registries.take()
        fuse = Fuse()
        registry.fuse = fuse
        world = World(
            spec, PointsRecipe(spec), registry, FusedStore(fuse), FusedBus(fuse), fuse, folder / "work"
        )
        made.append(world)
        return world

    yield make
    for world in made:
        world.fuse.left = None
        for trainer in world.trainers:
            trainer.release()
        registries.give_back(world.registry)


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()


@pytest.fixture
def points() -> Callable[..., list[Sample]]:
    """Rows around two middles, left and right, that a line parts: every other one of each."""

    def make(count: int, *, seed: int = 0, label: str | None = None) -> list[Sample]:
        random = np.random.default_rng(seed)
        made = []
        for number in range(count):
            side = label or ("left", "right")[number % 2]
            middle = -1.0 if side == "left" else 1.0
            x, y = random.normal(middle, 0.8), random.normal(0.0, 1.0)
            made.append(Sample(label=side, row={"x": float(x), "y": float(y)}))
        return made

    return make
