"""The network of a table model, and how its weights go over to what is known later."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill_trainer.recipes.recipe import Weights
from tidemill_trainer.recipes.runtime import keras, tf
from tidemill_trainer.recipes.table_knowledge import Floats, Knowledge, spread

HIDDEN = 32
DROPOUT = 0.3
FAR = 10.0
"""So many standard deviations from the mean a number is held: one wrong value must not drown a row."""


def encode(numbers: Any, categories: Any, knowledge: Knowledge) -> Any:
    """float32[batch, features] of float32[batch, number columns] and string[batch, category columns].

    Features are each number in standard deviations from the mean, 0 where it is missing; for each number,
    whether it is missing; for each known category, whether it is this one.
    """
    missing = tf.math.is_nan(numbers)
    centre, width = (tf.constant(each, tf.float32) for each in (knowledge.centre, knowledge.spread))
    scaled = tf.clip_by_value((numbers - centre) / width, -FAR, FAR)
    scaled = tf.where(missing, 0.0, scaled)
    owned = tf.gather(categories, tf.constant(knowledge.owners), axis=1)
    is_one = owned == tf.constant(knowledge.categories.tolist(), tf.string)
    return tf.concat([scaled, tf.cast(missing, tf.float32), tf.cast(is_one, tf.float32)], axis=1)


def build_network(feature_count: int, output_count: int) -> Any:
    """float32[batch, features] to float32[batch, outputs]: a linear map, and a hidden layer beside it."""
    features = keras.Input((feature_count,), name="features")
    direct = keras.layers.Dense(output_count, kernel_initializer="zeros", name="direct")(features)
    hidden = keras.layers.Dense(HIDDEN, activation="relu", name="hidden")(features)
    hidden = keras.layers.Dropout(DROPOUT, name="dropout")(hidden)
    # Begins at nothing: the linear map, which little data can teach, goes first.
    bent = keras.layers.Dense(output_count, use_bias=False, kernel_initializer="zeros", name="bent")(hidden)
    return keras.Model(features, direct + bent, name="network")


def carried_over(weights: Weights, before: Knowledge, after: Knowledge) -> Weights:
    """The network's weights for the features of `after` that answer as `weights` did for those of `before`.

    weights: [hidden kernel, hidden bias, direct kernel, direct bias, bent kernel].
    """
    hidden_kernel, hidden_bias, direct_kernel, direct_bias, bent = weights
    hidden_kernel, hidden_bias = _moved(hidden_kernel, hidden_bias, before, after)
    direct_kernel, direct_bias = _moved(direct_kernel, direct_bias, before, after)
    shrink, shift = _of_targets(before, after)
    return [
        hidden_kernel,
        hidden_bias,
        direct_kernel * np.float32(shrink),
        direct_bias * np.float32(shrink) + np.float32(shift),
        bent * np.float32(shrink),
    ]


def _moved(
    kernel: npt.NDArray[Any], bias: npt.NDArray[Any], before: Knowledge, after: Knowledge
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The layer for numbers scaled as `after` says: (v - m0) / s0 = (x1 s1 + m1 - m0) / s0."""
    count = len(before.centre)
    numbers, missing = kernel[:count].astype(np.float64), kernel[count : 2 * count].astype(np.float64)
    moves = numbers * ((after.centre - before.centre) / before.spread)[:, None]
    scaled = numbers * (after.spread / before.spread)[:, None]
    # A missing number stays at 0 whatever the mean: what the bias takes for it is given back.
    new = np.zeros((len(after.categories) - len(before.categories), kernel.shape[1]))
    parts = [scaled, missing - moves, kernel[2 * count :], new]
    return np.concatenate(parts).astype(np.float32), (bias + moves.sum(axis=0)).astype(np.float32)


def _of_targets(before: Knowledge, after: Knowledge) -> tuple[float, float]:
    """How a regression's outputs, in standard deviations of the targets, are told in those of `after`."""
    if before.targets[0] == 0:
        return 1.0, 0.0
    old, new = (float(spread(each.targets)) for each in (before, after))
    return old / new, float(before.targets[1] - after.targets[1]) / new


def target_scale(knowledge: Knowledge) -> tuple[float, float]:
    """Mean and standard deviation of a regression's targets."""
    targets: Floats = knowledge.targets
    return float(targets[1]), float(spread(targets))
