"""The recipe of kind `text_classifier`: reads raw sentences itself, and learns new words as they come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.golden import Golden, GoldenInput, GoldenOutput
from tidemill_contracts.model_spec import ModelSpec
from tidemill_contracts.samples import Sample

from tidemill_trainer.recipes.class_export import DEFAULT, PROBABILITIES, class_answers, save_signatures
from tidemill_trainer.recipes.network_training import Task, train_network
from tidemill_trainer.recipes.recipe import (
    Examples,
    Score,
    Targets,
    Watch,
    Weights,
    classification_score,
    label_positions,
)
from tidemill_trainer.recipes.runtime import keras, precision, tf
from tidemill_trainer.recipes.text_network import build_network, forget
from tidemill_trainer.recipes.text_reading import exported_table, look_up, make_table, read_ngrams
from tidemill_trainer.recipes.text_vocabulary import first_weights, grow, pack, unpack

BATCH = 512
TEXT = "text"


class TextClassifier:
    """See `Recipe`. Inputs are object[N] of UTF-8 bytes. Weights are the packed vocabulary, the n-grams'
    weights float32[1 + n-grams, classes] and the classes' biases float32[classes]."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._read = tf.function(read_ngrams, input_signature=[tf.TensorSpec([None], tf.string)])

    def faults(self, samples: Sequence[Sample]) -> list[str | None]:
        return [None if sample.text is not None else "the sample is not a text" for sample in samples]

    def read(self, samples: Sequence[Sample]) -> npt.NDArray[Any]:
        texts = np.empty(len(samples), object)
        texts[:] = [_text(sample) for sample in samples]
        return texts

    def targets(self, labels: Sequence[str]) -> Targets:
        return label_positions(labels, self._spec.labels)

    def train(
        self, start: Weights | None, train: Examples, tuning: Examples, *, seed: int, watch: Watch
    ) -> Weights:
        keras.utils.set_random_seed(seed)
        vocabulary, table, bias = self._begin(start, train)
        with precision():
            network = self._network(len(vocabulary))
            network.set_weights([table, bias])
            train = Examples(self._places(train.inputs, vocabulary), train.targets)
            tuning = Examples(self._places(tuning.inputs, vocabulary), tuning.targets)
            task = Task(
                network=network,
                batch=forget,
                inputs=tf.TensorSpec([None, None], tf.int32),
                targets=tf.TensorSpec([None], tf.int64),
                losses=lambda targets, logits: tf.nn.sparse_softmax_cross_entropy_with_logits(
                    targets, logits
                ),
                score=lambda part: classification_score(_logs(network, part.inputs), part.targets),
            )
            warm = start is not None
            best = train_network(task, train, tuning, self._spec.training, seed=seed, watch=watch, warm=warm)
        return [pack(vocabulary), *best]

    def score(self, weights: Weights, examples: Examples) -> Score:
        return classification_score(self._answers(weights, examples.inputs), examples.targets)

    def fits(self, weights: Weights) -> bool:
        if len(weights) != 3 or weights[0].dtype != np.uint8:
            return False
        classes = len(self._spec.labels)
        rows = len(unpack(weights[0])) + 1
        return weights[1].shape == (rows, classes) and weights[2].shape == (classes,)

    def golden(self, weights: Weights, samples: Sequence[Sample]) -> Golden:
        texts = self.read(samples)
        probabilities = np.exp(self._answers(weights, texts))
        output = GoldenOutput(shape=probabilities.shape, values=tuple(probabilities.ravel().tolist()))
        return Golden(inputs={TEXT: GoldenInput.of_bytes(list(texts))}, outputs={PROBABILITIES: output})

    def export(self, weights: Weights, folder: Path) -> None:
        """One signature: `text` string[batch] to the answers of `class_answers`."""
        vocabulary = unpack(weights[0])
        network = self._network(len(vocabulary))
        network.set_weights(weights[1:])
        with exported_table(vocabulary) as table:

            def answer(text: Any) -> dict[str, Any]:
                places = look_up(read_ngrams(text), table)
                return class_answers(network(places, training=False), self._spec.labels)

            signature = (answer, [tf.TensorSpec([None], tf.string, name=TEXT)])
            save_signatures({DEFAULT: signature}, weights=network.weights, resources=[table], folder=folder)

    def _begin(
        self, start: Weights | None, train: Examples
    ) -> tuple[list[bytes], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Vocabulary and weights before training: what was known answers as before."""
        classes = len(self._spec.labels)
        known, table, bias = [], np.zeros((1, classes), np.float32), np.zeros(classes, np.float32)
        if start is not None:
            known, table, bias = unpack(start[0]), start[1], start[2]
        texts = self._ngrams(train.inputs)
        vocabulary = grow(known, texts)
        joined = first_weights(vocabulary[len(known) :], texts, train.targets.astype(np.int64), classes)
        return vocabulary, np.concatenate([table, joined]), bias

    def _network(self, ngram_count: int) -> Any:
        return build_network(ngram_count, len(self._spec.labels))

    def _answers(self, weights: Weights, texts: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """float32[N, classes]: log probabilities."""
        vocabulary = unpack(weights[0])
        network = self._network(len(vocabulary))
        network.set_weights(weights[1:])
        return _logs(network, self._places(texts, vocabulary))

    def _ngrams(self, texts: npt.NDArray[Any]) -> list[list[bytes]]:
        found: list[list[bytes]] = []
        for start in range(0, len(texts), BATCH):
            found.extend(self._read(_batch(texts, start)).to_list())
        return found

    def _places(self, texts: npt.NDArray[Any], vocabulary: list[bytes]) -> npt.NDArray[np.int32]:
        """int32[N, longest]: the known n-grams of each text, then zeros."""
        table = make_table(vocabulary)
        rows = [
            each[each > 0]
            for start in range(0, len(texts), BATCH)
            for each in look_up(self._read(_batch(texts, start)), table).numpy()
        ]
        places = np.zeros((len(rows), max([1, *map(len, rows)])), np.int32)
        for row, known in zip(places, rows, strict=True):
            row[: len(known)] = known
        return places


def _batch(texts: npt.NDArray[Any], start: int) -> Any:
    return tf.constant(list(texts[start : start + BATCH]), tf.string)


def _logs(network: Any, places: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
    parts = [np.empty((0, network.outputs[0].shape[-1]), np.float32)]
    for start in range(0, len(places), BATCH):
        logits = network(tf.constant(places[start : start + BATCH]), training=False)
        parts.append(tf.nn.log_softmax(tf.cast(logits, tf.float32)).numpy())
    return np.concatenate(parts)


def _text(sample: Sample) -> bytes:
    if sample.text is None:
        raise InvalidInput("the sample is not a text", field="text")
    return sample.content()
