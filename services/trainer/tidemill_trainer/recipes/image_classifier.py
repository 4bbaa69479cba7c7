"""The recipe of kind `image_classifier`: a small convolutional network that reads PNG and JPEG itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.golden import Golden, GoldenInput, GoldenOutput
from tidemill_contracts.model_spec import ImageInput, ModelSpec
from tidemill_contracts.samples import Sample

from tidemill_trainer.recipes.image_export import IMAGES, PROBABILITIES, export_network
from tidemill_trainer.recipes.image_network import build_network, vary
from tidemill_trainer.recipes.image_reading import PIXELS_MAX, read_images
from tidemill_trainer.recipes.image_scoring import Scorer
from tidemill_trainer.recipes.network_training import Task, train_network
from tidemill_trainer.recipes.recipe import Examples, Score, Targets, Watch, Weights, label_positions
from tidemill_trainer.recipes.runtime import keras, precision, tf

READ_BATCH = 256
_UNREADABLE = f"not a whole PNG or JPEG file of at most {PIXELS_MAX} pixels"


class ImageClassifier:
    """See `Recipe`. Inputs are uint8[N, height, width, channels], as the model's YAML says."""

    def __init__(self, spec: ModelSpec) -> None:
        if not isinstance(spec.input, ImageInput):
            raise InvalidInput(f"model {spec.name} needs `input` with height, width and channels")
        self._spec = spec
        self._size = size = spec.input
        self._scored: tuple[Any, Scorer] | None = None

        def read(encoded: Any) -> Any:
            return read_images(encoded, size)

        self._read = tf.function(read, input_signature=[tf.TensorSpec([None], tf.string)])

    def faults(self, samples: Sequence[Sample]) -> list[str | None]:
        found: list[str | None] = []
        for start in range(0, len(samples), READ_BATCH):
            batch = samples[start : start + READ_BATCH]
            try:
                self.read(batch)
                found.extend([None] * len(batch))
            except InvalidInput:
                found.extend(self._fault(sample) for sample in batch)
        return found

    def read(self, samples: Sequence[Sample]) -> npt.NDArray[Any]:
        parts = [np.empty((0, self._size.height, self._size.width, self._size.channels), np.uint8)]
        for start in range(0, len(samples), READ_BATCH):
            encoded = [_image(sample) for sample in samples[start : start + READ_BATCH]]
            try:
                parts.append(self._read(tf.constant(encoded, tf.string)).numpy())
            except tf.errors.InvalidArgumentError as error:
                raise InvalidInput(_UNREADABLE, field="image") from error
        return np.concatenate(parts)

    def targets(self, labels: Sequence[str]) -> Targets:
        return label_positions(labels, self._spec.labels)

    def train(
        self, start: Weights | None, train: Examples, tuning: Examples, *, seed: int, watch: Watch
    ) -> Weights:
        keras.utils.set_random_seed(seed)
        with precision():
            network = self._network()
            if start is not None:
                network.set_weights(start)
            return train_network(
                self._task(network),
                train,
                tuning,
                self._spec.training,
                seed=seed,
                watch=watch,
                warm=start is not None,
            )

    def score(self, weights: Weights, examples: Examples) -> Score:
        network, scorer = self._for_scoring()
        network.set_weights(weights)
        return scorer.score(examples)

    def fits(self, weights: Weights) -> bool:
        network, _ = self._for_scoring()
        return [each.shape for each in weights] == [tuple(each.shape) for each in network.weights]

    def golden(self, weights: Weights, samples: Sequence[Sample]) -> Golden:
        network, scorer = self._for_scoring()
        network.set_weights(weights)
        probabilities = scorer.probabilities(self.read(samples))
        output = GoldenOutput(shape=probabilities.shape, values=tuple(probabilities.ravel().tolist()))
        return Golden(
            inputs={IMAGES: GoldenInput.of_bytes([_image(sample) for sample in samples])},
            outputs={PROBABILITIES: output},
        )

    def export(self, weights: Weights, folder: Path) -> None:
        network = self._network()
        network.set_weights(weights)
        export_network(network, self._size, self._spec.labels, folder)

    def _task(self, network: Any) -> Task:
        size = network.inputs[0].shape[1:]
        varied = self._spec.training.augment
        return Task(
            network=network,
            batch=lambda images, random: vary(images, random) if varied else tf.constant(images),
            inputs=tf.TensorSpec([None, *size], tf.uint8),
            targets=tf.TensorSpec([None], tf.int64),
            losses=lambda targets, logits: tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits),
            score=Scorer(network).score,
        )

    def _network(self) -> Any:
        return build_network(self._size, len(self._spec.labels))

    def _for_scoring(self) -> tuple[Any, Scorer]:
        if self._scored is None:
            network = self._network()
            self._scored = network, Scorer(network)
        return self._scored

    def _fault(self, sample: Sample) -> str | None:
        try:
            self.read([sample])
        except InvalidInput as error:
            return str(error)
        return None


def _image(sample: Sample) -> bytes:
    if sample.image is None:
        raise InvalidInput("the sample is not an image", field="image")
    try:
        return sample.content()
    except ValueError as error:
        raise InvalidInput(str(error), field="image") from error
