"""Trains an image network: shuffled epochs, a falling learning rate, the best epoch kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tidemill_contracts.model_spec import TrainingSpec

from tidemill_trainer.recipes.image_network import vary
from tidemill_trainer.recipes.image_scoring import Scorer
from tidemill_trainer.recipes.recipe import Examples, Watch, Weights
from tidemill_trainer.recipes.runtime import keras, tf

RATE_LAST = 0.05
"""The last epoch's learning rate, of the first one's."""


def train_network(
    network: Any, train: Examples, validation: Examples, spec: TrainingSpec, *, seed: int, watch: Watch
) -> Weights:
    """Train from the network's present weights; return those of the best epoch by validation loss.

    Stops early after `patience` epochs without a better one.
    """
    optimizer = keras.optimizers.Adam(spec.learning_rate)
    optimizer.build(network.trainable_variables)
    step = _step(network, optimizer)
    scorer = Scorer(network)
    best: Weights = network.get_weights()
    best_loss, best_epoch = math.inf, 0
    for epoch in range(1, spec.epochs_max + 1):
        random = np.random.default_rng([seed, epoch])
        optimizer.learning_rate.assign(_rate(spec, epoch))
        order = random.permutation(len(train))
        for start in range(0, len(order), spec.batch_size):
            watch.step()
            rows = order[start : start + spec.batch_size]
            images = train.inputs[rows]
            step(vary(images, random) if spec.augment else tf.constant(images), train.targets[rows])
        score = scorer.score(validation)
        watch.epoch(epoch, score)
        if score.loss < best_loss or epoch == 1:
            best, best_loss, best_epoch = network.get_weights(), score.loss, epoch
        if epoch - best_epoch >= spec.patience:
            break
    return best


def _rate(spec: TrainingSpec, epoch: int) -> float:
    """Falls along half a cosine, so that the last epochs settle what the first ones found."""
    done = (epoch - 1) / spec.epochs_max
    return spec.learning_rate * (RATE_LAST + (1 - RATE_LAST) * (1 + math.cos(math.pi * done)) / 2)


def _step(network: Any, optimizer: Any) -> Any:
    size = network.inputs[0].shape[1:]

    def step(images: Any, targets: Any) -> None:
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)

    images = tf.TensorSpec([None, *size], tf.uint8)
    targets = tf.TensorSpec([None], tf.int64)
    return tf.function(step, input_signature=[images, targets])
