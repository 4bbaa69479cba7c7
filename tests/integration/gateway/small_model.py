"""Exports a model that multiplies by two, and judges examples: ``small_model.py FOLDER`` makes FOLDER/1."""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

EXAMPLES = tf.TensorSpec((None,), tf.string, name="inputs")


class Doubler(tf.Module):  # TensorFlow ships no types
    """Rows of three numbers, doubled; examples with a feature `x`, judged."""

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")])
    def double(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """x times two; refuses rows with a negative first number, as a model's own check would."""
        check = tf.debugging.assert_non_negative(x[:, 0])
        with tf.control_dependencies([check]):
            return {"y": x * 2.0}

    @tf.function(input_signature=[EXAMPLES])
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """`yes` scores x, `no` scores 1 - x."""
        x = _parsed(inputs)
        classes = tf.tile(tf.constant([["yes", "no"]]), [tf.shape(x)[0], 1])
        return {"classes": classes, "scores": tf.stack([x, 1.0 - x], axis=1)}

    @tf.function(input_signature=[EXAMPLES])
    def regress(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Ten times x."""
        return {"outputs": _parsed(inputs) * 10.0}


def _parsed(inputs: tf.Tensor) -> tf.Tensor:
    return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]


def save(folder: Path) -> None:
    """Save the model; TensorFlow 2 marks every signature as one for Predict, so two are marked again."""
    module = Doubler()
    signatures = {"serving_default": module.double, "classify": module.classify, "regress": module.regress}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    file = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for name in ("classify", "regress"):
        saved.meta_graphs[0].signature_def[name].method_name = f"tensorflow/serving/{name}"
    file.write_bytes(saved.SerializeToString())


if __name__ == "__main__":
    save(Path(sys.argv[1]) / "1")
