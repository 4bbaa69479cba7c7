"""Trains a network of any kind: shuffled epochs, falling rate, averaged weights, the best kept, resumable."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tidemill_contracts.model_spec import TrainingSpec

from tidemill_trainer.recipes.averaging import EVERY_STEPS, Average, between
from tidemill_trainer.recipes.recipe import Examples, Score, State, Watch, Weights
from tidemill_trainer.recipes.runtime import keras, tf

RATE_LAST = 0.05
"""The learning rate at the end, of that at the beginning."""
MIXED_SHARES = (0.25, 0.5, 0.75)
"""Of the champion's weights, in the mixtures that a warm training tries."""

Batch = Callable[[npt.NDArray[Any], np.random.Generator], Any]


@dataclass(frozen=True)
class Task:
    """What is trained, and how it is measured.

    network: a Keras model; built inside `runtime.precision()` it trains in half precision on a GPU.
    batch: rows of the examples' inputs to what the network is called with, a tensor or a nest of them. The
        generator is the place for chance, such as turned images.
    inputs: the `tf.TensorSpec`, or the nest of them, of what `batch` gives.
    targets: the `tf.TensorSpec` of a batch's targets.
    losses: (targets, the network's outputs as float32) to one loss per row.
    score: measures the network as it stands.
    """

    network: Any
    batch: Batch
    inputs: Any
    targets: Any
    losses: Callable[[Any, Any], Any]
    score: Callable[[Examples], Score]


@dataclass
class _Best:
    weights: Weights
    loss: float = math.inf
    epoch: int = 0


def train_network(
    task: Task,
    train: Examples,
    tuning: Examples,
    spec: TrainingSpec,
    *,
    seed: int,
    watch: Watch,
    warm: bool = False,
) -> Weights:
    """Train from the network's present weights; return those of the best epoch by bounded loss on `tuning`.

    Measured and returned are averages of the weights along the way. warm: the present weights are a
    champion's, for which `epochs_warm_max` epochs of larger batches are enough; returned is then the best of
    the found weights and of mixtures of them with the champion's.

    Stops early after `patience` epochs without a better one. Goes on from what the watch kept. In the scope
    of a strategy of several workers each takes its share of every batch; all end with the same weights.
    """
    optimizer = _optimizer(spec)
    optimizer.build(task.network.trainable_variables)
    step, best, done = _step(task, optimizer), _Best(task.network.get_weights()), 0
    average, epochs = Average(), spec.epochs(len(train) + len(tuning), warm=warm)
    start, batch = best.weights, spec.batch(warm=warm)
    kept = watch.kept()
    if kept is not None:
        best, done = _restore(kept, task.network, optimizer)
        average.restore(kept)
    for epoch in range(done + 1, epochs + 1):
        if epoch - 1 - best.epoch >= spec.patience and best.epoch:
            break
        random = np.random.default_rng([seed, epoch])
        order, total = random.permutation(len(train)), 0.0
        for number, first in enumerate(range(0, len(order), batch)):
            watch.step()
            if number % EVERY_STEPS == 0:
                done_share = (epoch - 1 + first / len(order)) / epochs
                optimizer.learning_rate.assign(learning_rate(spec.rate(warm=warm), done_share))
            rows = order[first : first + batch]
            total += float(step(task.batch(train.inputs[rows], random), train.targets[rows]))
            if (number + 1) % EVERY_STEPS == 0:
                average.add(task.network.get_weights())
        average.add(task.network.get_weights())
        score = _score(task, average.weights, tuning)
        if score.bounded_loss < best.loss or epoch == 1:
            best = _Best(average.weights, score.bounded_loss, epoch)
        watch.keep({**_state(epoch, best, task.network, optimizer), **average.state()})
        watch.epoch(epoch, score, train_loss=total / max(1, len(order)))
    return _mixed(task, start, best, tuning) if warm else best.weights


def _mixed(task: Task, start: Weights, best: _Best, tuning: Examples) -> Weights:
    """The best weights, or a mixture of them with those of the start that has a lower loss on `tuning`."""
    for share in MIXED_SHARES:
        weights = between(start, best.weights, share)
        loss = _score(task, weights, tuning).bounded_loss
        if loss < best.loss:
            best = _Best(weights, loss, best.epoch)
    return best.weights


def _score(task: Task, weights: Weights, tuning: Examples) -> Score:
    """Of the weights; the network goes on from where it stood."""
    stood = task.network.get_weights()
    task.network.set_weights(weights)
    score = task.score(tuning)
    task.network.set_weights(stood)
    return score


def learning_rate(first: float, done: float) -> float:
    """Falls along half a cosine, so that the end settles what the beginning found.

    first: where it begins. done: of the way, 0 to 1.
    """
    return first * (RATE_LAST + (1 - RATE_LAST) * (1 + math.cos(math.pi * done)) / 2)


def _optimizer(spec: TrainingSpec) -> Any:
    """Adam; where half precision is in force, losses are scaled so that small gradients do not vanish."""
    adam = keras.optimizers.Adam(spec.learning_rate)
    return adam if _is_whole() else keras.optimizers.LossScaleOptimizer(adam)


def _is_whole() -> bool:
    return bool(keras.config.dtype_policy().compute_dtype != "float16")


def _step(task: Task, optimizer: Any) -> Any:
    """A function of a batch that takes one step and gives the sum of the rows' losses."""
    network, strategy = task.network, tf.distribute.get_strategy()
    worker, workers = _place(strategy)

    def step(inputs: Any, targets: Any, count: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = tf.nest.map_structure(_whole, network(inputs, training=True))
            total = tf.reduce_sum(task.losses(targets, outputs))
            # By the count of the whole batch: the workers' gradients are summed up where they are applied.
            scaled = optimizer.scale_loss(total / count)
        gradients = tape.gradient(scaled, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, total)

    def whole_step(inputs: Any, targets: Any) -> Any:
        count = tf.cast(tf.shape(targets)[0], tf.float32)
        mine, wanted = tf.nest.map_structure(lambda each: each[worker::workers], (inputs, targets))
        return strategy.run(step, args=(mine, wanted, count))

    return tf.function(whole_step, input_signature=[task.inputs, task.targets])


def _place(strategy: Any) -> tuple[int, int]:
    """Which worker this process is, and of how many."""
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_id is None:
        return 0, 1
    return int(resolver.task_id), int(strategy.num_replicas_in_sync)


def _whole(output: Any) -> Any:
    return tf.cast(output, tf.float32)


def _state(epoch: int, best: _Best, network: Any, optimizer: Any) -> State:
    state = {"epoch": np.array(epoch), "best_epoch": np.array(best.epoch), "best_loss": np.array(best.loss)}
    state.update({f"best_{index}": array for index, array in enumerate(best.weights)})
    # `variables` holds the states of random generators too, which `get_weights` leaves out.
    state.update({f"network_{index}": each.numpy() for index, each in enumerate(network.variables)})
    state.update({f"optimizer_{index}": each.numpy() for index, each in enumerate(optimizer.variables)})
    return state


def _restore(state: State, network: Any, optimizer: Any) -> tuple[_Best, int]:
    for name, variables in (("network", network.variables), ("optimizer", optimizer.variables)):
        for index, variable in enumerate(variables):
            variable.assign(state[f"{name}_{index}"])
    count = len(network.get_weights())
    weights = [state[f"best_{index}"] for index in range(count)]
    return _Best(weights, float(state["best_loss"]), int(state["best_epoch"])), int(state["epoch"])
