"""The network of a text classifier: a bag of n-grams, each with one weight per class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill_trainer.recipes.runtime import keras, tf

FORGOTTEN_SHARE = 0.3
"""Of a training text's n-grams, so many are left out at every sight of it: none is to be relied on alone."""


def build_network(ngram_count: int, class_count: int) -> Any:
    """int32[batch, n-grams], 0 for none, to float32[batch, classes], before the softmax.

    The embedding is as wide as there are classes. Wider ones with a layer behind them were tried on film
    reviews: no better, and four times the cost.
    """
    places = keras.Input((None,), dtype="int32", name="places")
    weights = keras.layers.Embedding(
        ngram_count + 1, class_count, embeddings_initializer="zeros", name="ngrams"
    )(places)
    known = keras.ops.cast(keras.ops.expand_dims(places > 0, -1), weights.dtype)
    count = keras.ops.maximum(keras.ops.sum(known, axis=1), 1.0)
    # By the root of the count: a long text may be surer than a short one, though not in proportion.
    flow = keras.ops.sum(weights * known, axis=1) / keras.ops.sqrt(count)
    return keras.Model(places, _Bias(class_count, name="bias")(flow), name="network")


class _Bias(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    def __init__(self, class_count: int, **options: Any) -> None:
        super().__init__(**options)
        self.bias = self.add_weight(shape=(class_count,), initializer="zeros", name="bias")

    def call(self, flow: Any) -> Any:
        return flow + self.bias


def forget(places: npt.NDArray[np.int32], random: np.random.Generator) -> Any:
    """int32[batch, n-grams] with FORGOTTEN_SHARE of them left out, and no wider than it must be."""
    kept = np.where(random.random(places.shape) < FORGOTTEN_SHARE, 0, places)
    width = int((places > 0).sum(axis=1).max(initial=1))
    return tf.constant(kept[:, :width])
