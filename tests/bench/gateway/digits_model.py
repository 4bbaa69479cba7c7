"""Exports the digits network that every server is measured with: ``digits_model.py FOLDER [guarded]``.

guarded: the model itself fails on a batch in which any pixel is above PIXEL_MAX, as a model's own checks do.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

SEED = 7
ROWS = 32
PIXEL_MAX = 1.0


class Guard(layers.Layer):
    """Hands pixels on, and fails where one is out of bounds."""

    def call(self, pixels: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.assert_less_equal(pixels, PIXEL_MAX)]):
            return tf.identity(pixels)


def build(*, guarded: bool = False) -> keras.Model:
    """Two convolutions and a hidden layer, 32-64-128, as in TensorFlow's own tutorials. Not trained: weights
    do not change the speed."""
    keras.utils.set_random_seed(SEED)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            *([Guard()] if guarded else []),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def main(folder: Path, *, guarded: bool) -> None:
    """Write the model, and beside it the bodies of one and of 32 instances with their right answers."""
    model = build(guarded=guarded)
    model.export(folder / "1", format="tf_saved_model", verbose=False)
    chance = np.random.default_rng(SEED)
    digits = (chance.random((ROWS, 28, 28, 1)) * (chance.random((ROWS, 28, 28, 1)) > 0.8)).round(4)
    for count in (1, ROWS):
        rows = digits[:count]
        body = {"instances": rows.tolist()}
        (folder / f"body-{count}.json").write_text(json.dumps(body, separators=(",", ":")))
        right = model.predict(rows.astype(np.float32), verbose=0)
        (folder / f"right-{count}.json").write_text(json.dumps(right.tolist()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), guarded="guarded" in sys.argv[2:])
