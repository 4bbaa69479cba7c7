"""What the kinds for tables share: reading rows, growing with them, training, exporting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.golden import Golden, GoldenInput, GoldenOutput
from tidemill_contracts.model_spec import ModelSpec, TableInput
from tidemill_contracts.samples import Sample

from tidemill_trainer.recipes.class_export import DEFAULT, save_signatures
from tidemill_trainer.recipes.network_training import Task, train_network
from tidemill_trainer.recipes.recipe import Examples, Score, Targets, Watch, Weights
from tidemill_trainer.recipes.runtime import keras, precision, tf
from tidemill_trainer.recipes.table_knowledge import ARRAYS, Knowledge, of_type
from tidemill_trainer.recipes.table_network import build_network, carried_over, encode
from tidemill_trainer.recipes.table_reading import read_rows

BATCH = 1024


class TableRecipe(ABC):
    """See `Recipe`. Inputs are a structured array, a field per column. Weights are the arrays of `Knowledge`,
    then those of the network. A kind says what the network's outputs mean."""

    output_name: str

    def __init__(self, spec: ModelSpec) -> None:
        if not isinstance(spec.input, TableInput):
            raise InvalidInput(f"model {spec.name} needs `input` with columns")
        self.spec = spec
        self._columns = spec.input.columns
        self._numbers = of_type(self._columns, "number")
        self._categories = of_type(self._columns, "category")

    @property
    @abstractmethod
    def output_count(self) -> int:
        """How many outputs the network has."""

    @abstractmethod
    def targets(self, labels: Sequence[str]) -> Targets:
        """See `Recipe`."""

    @abstractmethod
    def losses(self, targets: Any, outputs: Any, knowledge: Knowledge) -> Any:
        """float32[batch] of a batch's targets and the network's outputs, in the graph."""

    @abstractmethod
    def score_outputs(self, outputs: npt.NDArray[Any], targets: Targets, knowledge: Knowledge) -> Score:
        """The score of float32[N, outputs]."""

    @abstractmethod
    def answers(self, outputs: Any, knowledge: Knowledge) -> dict[str, Any]:
        """What the exported model answers, in the graph; one of them is called `output_name`."""

    def faults(self, samples: Sequence[Sample]) -> list[str | None]:
        return [self.fault(sample) for sample in samples]

    def fault(self, sample: Sample) -> str | None:
        """Why the sample cannot be read; None where it can."""
        try:
            self.read([sample])
        except InvalidInput as error:
            return str(error)
        return None

    def read(self, samples: Sequence[Sample]) -> npt.NDArray[Any]:
        return read_rows(samples, self._columns)

    def train(
        self, start: Weights | None, train: Examples, tuning: Examples, *, seed: int, watch: Watch
    ) -> Weights:
        keras.utils.set_random_seed(seed)
        before = Knowledge.of(start) if start is not None else Knowledge.empty(self._columns)
        knowledge = before.grown(self._columns, train)
        with precision():
            network = self._network(knowledge)
            if start is not None:
                network.set_weights(carried_over(start[ARRAYS:], before, knowledge))
            features, forward = self._encoder(knowledge), self._forward(network, knowledge)
            task = Task(
                network=network,
                batch=lambda rows, _: features(*self._tensors(rows)),
                inputs=tf.TensorSpec([None, network.inputs[0].shape[-1]], tf.float32),
                targets=tf.TensorSpec([None], tf.as_dtype(train.targets.dtype)),
                losses=lambda targets, outputs: self.losses(targets, outputs, knowledge),
                score=lambda part: self._score(forward, knowledge, part),
            )
            warm = start is not None
            best = train_network(task, train, tuning, self.spec.training, seed=seed, watch=watch, warm=warm)
        return [*knowledge.arrays(), *best]

    def score(self, weights: Weights, examples: Examples) -> Score:
        network, knowledge = self._opened(weights)
        return self._score(self._forward(network, knowledge), knowledge, examples)

    def fits(self, weights: Weights) -> bool:
        if len(weights) <= ARRAYS or weights[0].shape != (3, len(self._numbers)):
            return False
        if weights[1].dtype.kind != "S" or len(weights[1]) != len(weights[2]):
            return False
        wanted = [tuple(each.shape) for each in self._network(Knowledge.of(weights)).weights]
        return [each.shape for each in weights[ARRAYS:]] == wanted

    def golden(self, weights: Weights, samples: Sequence[Sample]) -> Golden:
        """With 0 for missing numbers: the file of golden answers knows no other."""
        network, knowledge = self._opened(weights)
        rows = self.read(samples)
        for name in self._numbers:
            rows[name] = np.nan_to_num(rows[name])
        outputs = self._outputs(self._forward(network, knowledge), rows)
        answer = self.answers(tf.constant(outputs), knowledge)[self.output_name].numpy()
        given = {
            name: GoldenInput(dtype="float32", shape=(len(rows),), values=tuple(rows[name].tolist()))
            for name in self._numbers
        }
        given.update({name: GoldenInput.of_bytes(rows[name].tolist()) for name in self._categories})
        output = GoldenOutput(shape=answer.shape, values=tuple(answer.ravel().tolist()))
        return Golden(inputs=given, outputs={self.output_name: output})

    def export(self, weights: Weights, folder: Path) -> None:
        """One signature with an input per column, named as it: float32[batch] or string[batch]."""
        network, knowledge = self._opened(weights)
        names = [*self._numbers, *self._categories]

        def answer(*columns: Any) -> dict[str, Any]:
            given = dict(zip(names, columns, strict=True))
            first = tf.shape(columns[0])[0]
            stacked = [
                tf.stack([given[name] for name in chosen], axis=1) if chosen else tf.zeros([first, 0], dtype)
                for chosen, dtype in ((self._numbers, tf.float32), (self._categories, tf.string))
            ]
            return self.answers(network(encode(stacked[0], stacked[1], knowledge), training=False), knowledge)

        inputs = [tf.TensorSpec([None], tf.float32, name=name) for name in self._numbers]
        inputs += [tf.TensorSpec([None], tf.string, name=name) for name in self._categories]
        save_signatures({DEFAULT: (answer, inputs)}, weights=network.weights, folder=folder)

    def _network(self, knowledge: Knowledge) -> Any:
        feature_count = 2 * len(self._numbers) + len(knowledge.categories)
        return build_network(feature_count, self.output_count)

    def _opened(self, weights: Weights) -> tuple[Any, Knowledge]:
        knowledge = Knowledge.of(weights)
        network = self._network(knowledge)
        network.set_weights(weights[ARRAYS:])
        return network, knowledge

    def _encoder(self, knowledge: Knowledge) -> Any:
        """Columns' tensors to features, as one graph."""
        return tf.function(
            lambda *given: encode(given[0], given[1], knowledge), input_signature=self._column_specs()
        )

    def _forward(self, network: Any, knowledge: Knowledge) -> Any:
        """Columns' tensors to float32[batch, outputs], as one graph."""

        def answer(*given: Any) -> Any:
            return tf.cast(network(encode(given[0], given[1], knowledge), training=False), tf.float32)

        return tf.function(answer, input_signature=self._column_specs())

    def _column_specs(self) -> list[Any]:
        numbers = tf.TensorSpec([None, len(self._numbers)], tf.float32)
        return [numbers, tf.TensorSpec([None, len(self._categories)], tf.string)]

    def _tensors(self, rows: npt.NDArray[Any]) -> tuple[Any, Any]:
        numbers = np.empty((len(rows), len(self._numbers)), np.float32)
        for place, name in enumerate(self._numbers):
            numbers[:, place] = rows[name]
        categories = np.empty((len(rows), len(self._categories)), object)
        for place, name in enumerate(self._categories):
            categories[:, place] = rows[name]
        return tf.constant(numbers), tf.constant(categories, tf.string)

    def _outputs(self, forward: Any, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        parts = [np.empty((0, self.output_count), np.float32)]
        for start in range(0, len(rows), BATCH):
            parts.append(forward(*self._tensors(rows[start : start + BATCH])).numpy())
        return np.concatenate(parts)

    def _score(self, forward: Any, knowledge: Knowledge, examples: Examples) -> Score:
        outputs = self._outputs(forward, examples.inputs)
        return self.score_outputs(outputs, examples.targets, knowledge)
