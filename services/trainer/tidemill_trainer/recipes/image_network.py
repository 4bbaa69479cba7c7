"""The convolutional network of an image classifier, and how its training images are varied."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tidemill_contracts.model_spec import ImageInput

from tidemill_trainer.recipes.runtime import keras, tf

FILTERS = (16, 32, 64)
"""Of the first stages; further ones, for larger images, have as many as the last."""
SIDE_MIN = 4
"""Stages are added until the shorter side is below this."""
DROPOUT = 0.3
TURN_MAX_RAD = 0.2
ZOOM_MAX = 0.12
SHIFT_MAX = 0.07
"""How far a training image may be turned, scaled and moved (of its side)."""


def build_network(size: ImageInput, class_count: int) -> Any:
    """uint8[batch, height, width, channels] to float32[batch, classes], before the softmax.

    28 × 28 grey and ten classes make 29,066 parameters. A hidden dense layer and batch normalisation were
    tried: with the few hundred samples of a round both learn more slowly.
    """
    inputs = keras.Input((size.height, size.width, size.channels), dtype="uint8", name="pixels")
    flow = keras.layers.Rescaling(1 / 255, name="scale")(inputs)
    stage, side = 0, min(size.height, size.width)
    while side >= SIDE_MIN:
        filters = FILTERS[min(stage, len(FILTERS) - 1)]
        flow = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_uniform",
            name=f"convolution_{stage}",
        )(flow)
        flow = keras.layers.MaxPooling2D(name=f"pooling_{stage}")(flow)
        stage, side = stage + 1, side // 2
    flow = keras.layers.Flatten(name="flatten")(flow)
    flow = keras.layers.Dropout(DROPOUT, name="dropout")(flow)
    return keras.Model(inputs, keras.layers.Dense(class_count, name="logits")(flow), name="network")


def vary(images: npt.NDArray[np.uint8], random: np.random.Generator) -> Any:
    """uint8[batch, …] of the same images, each turned, scaled and moved a little; the border is black."""
    count, height, width = images.shape[:3]
    turn = random.uniform(-TURN_MAX_RAD, TURN_MAX_RAD, count)
    zoom = random.uniform(1 - ZOOM_MAX, 1 + ZOOM_MAX, count)
    right = random.uniform(-SHIFT_MAX, SHIFT_MAX, count) * width
    down = random.uniform(-SHIFT_MAX, SHIFT_MAX, count) * height
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    cos, sin = np.cos(turn) * zoom, np.sin(turn) * zoom
    none = np.zeros(count)
    # Rows of the inverse map around the middle: output pixel to input pixel.
    to_x = [cos, -sin, middle_x - cos * middle_x + sin * middle_y + right]
    to_y = [sin, cos, middle_y - sin * middle_x - cos * middle_y + down]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=np.stack([*to_x, *to_y, none, none], axis=1).astype(np.float32),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
