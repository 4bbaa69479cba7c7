"""Exports a model that multiplies by two: ``small_model.py FOLDER`` makes FOLDER/1."""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow as tf


class Doubler(tf.Module):  # TensorFlow ships no types
    """Rows of three numbers, doubled."""

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")])
    def double(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """x times two; refuses rows with a negative first number, as a model's own check would."""
        check = tf.debugging.assert_non_negative(x[:, 0])
        with tf.control_dependencies([check]):
            return {"y": x * 2.0}


if __name__ == "__main__":
    module = Doubler()
    tf.saved_model.save(module, str(Path(sys.argv[1]) / "1"), signatures={"serving_default": module.double})
