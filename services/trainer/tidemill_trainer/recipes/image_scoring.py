"""Measures an image network: right or wrong, and cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill_trainer.recipes.recipe import Examples, Score, classification_score
from tidemill_trainer.recipes.runtime import tf

BATCH = 512


class Scorer:
    """Scores a network as its weights are at the time of asking."""

    def __init__(self, network: Any) -> None:
        size = network.inputs[0].shape[1:]

        def log_probabilities(images: Any) -> Any:
            return tf.nn.log_softmax(tf.cast(network(images, training=False), tf.float32))

        images = tf.TensorSpec([None, *size], tf.uint8)
        self._log_probabilities = tf.function(log_probabilities, input_signature=[images])

    def score(self, examples: Examples) -> Score:
        """Right or wrong and cross-entropy; not a number where the network's answers are not."""
        return classification_score(self._logs(examples.inputs), examples.targets)

    def probabilities(self, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """float32[N, classes] of uint8[N, height, width, channels]."""
        answers: npt.NDArray[Any] = np.exp(self._logs(inputs))
        return answers

    def _logs(self, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        parts = [
            self._log_probabilities(tf.constant(inputs[start : start + BATCH])).numpy()
            for start in range(0, len(inputs), BATCH)
        ]
        logs: npt.NDArray[Any] = np.concatenate(parts)
        return logs
