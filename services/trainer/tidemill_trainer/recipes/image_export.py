"""Writes an image network as a SavedModel that takes images, or pixels, and answers with labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tidemill_contracts.model_spec import ImageInput

from tidemill_trainer.recipes.image_reading import read_images
from tidemill_trainer.recipes.runtime import tf
from tidemill_trainer.recipes.saved_model_names import renumber_functions

IMAGES = "image_bytes"
PIXELS = "pixels"
DEFAULT = "serving_default"
PROBABILITIES = "probabilities"


def export_network(network: Any, size: ImageInput, labels: Sequence[str], folder: Path) -> None:
    """Two signatures with the same answers.

    serving_default: `image_bytes` string[batch], each a PNG or JPEG file.
    pixels:          `pixels` uint8[batch, height, width, channels].
    Both answer `probabilities` float32[batch, classes], in the order of `labels`, and `label` string[batch].
    """

    def from_pixels(pixels: Any) -> dict[str, Any]:
        probabilities = tf.nn.softmax(network(pixels, training=False))
        best = tf.argmax(probabilities, axis=-1)
        return {PROBABILITIES: probabilities, "label": tf.gather(tf.constant(list(labels)), best)}

    def from_images(image_bytes: Any) -> dict[str, Any]:
        return from_pixels(read_images(image_bytes, size))

    served = tf.Module()
    # Keras' own export orders the variables by chance; listed here, the files come out alike every time.
    served.weights = [variable.value for variable in network.weights]
    images = tf.TensorSpec([None], tf.string, name=IMAGES)
    pixels = tf.TensorSpec([None, size.height, size.width, size.channels], tf.uint8, name=PIXELS)
    signatures = {
        DEFAULT: tf.function(from_images, input_signature=[images]).get_concrete_function(),
        PIXELS: tf.function(from_pixels, input_signature=[pixels]).get_concrete_function(),
    }
    tf.saved_model.save(served, str(folder), signatures=signatures)
    renumber_functions(folder)
