"""Measures an image network: accuracy and cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill_trainer.recipes.recipe import Examples, Score
from tidemill_trainer.recipes.runtime import tf

BATCH = 512


class Scorer:
    """Scores a network as its weights are at the time of asking."""

    def __init__(self, network: Any) -> None:
        size = network.inputs[0].shape[1:]

        def log_probabilities(images: Any) -> Any:
            return tf.nn.log_softmax(network(images, training=False))

        images = tf.TensorSpec([None, *size], tf.uint8)
        self._log_probabilities = tf.function(log_probabilities, input_signature=[images])

    def score(self, examples: Examples) -> Score:
        """Accuracy and mean cross-entropy; not a number where the network's answers are not."""
        right, loss = 0, 0.0
        for start in range(0, len(examples), BATCH):
            targets = examples.targets[start : start + BATCH]
            logs = self._log_probabilities(tf.constant(examples.inputs[start : start + BATCH])).numpy()
            right += int(np.sum(np.argmax(logs, axis=1) == targets))
            loss -= float(np.sum(logs[np.arange(len(targets)), targets], dtype=np.float64))
        return Score(accuracy=right / len(examples), loss=loss / len(examples))

    def probabilities(self, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """float32[N, classes] of uint8[N, height, width, channels]."""
        logs = [
            self._log_probabilities(tf.constant(inputs[start : start + BATCH])).numpy()
            for start in range(0, len(inputs), BATCH)
        ]
        answers: npt.NDArray[Any] = np.exp(np.concatenate(logs))
        return answers
