"""Writes a classifier as a SavedModel, the same bytes for the same model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tidemill_trainer.recipes.runtime import tf
from tidemill_trainer.recipes.saved_model_names import renumber_functions

DEFAULT = "serving_default"
PROBABILITIES = "probabilities"
LABEL = "label"


def class_answers(logits: Any, labels: Sequence[str]) -> dict[str, Any]:
    """`probabilities` float32[batch, classes], in the order of the labels, and `label` string[batch]."""
    probabilities = tf.nn.softmax(logits)
    best = tf.argmax(probabilities, axis=-1)
    return {PROBABILITIES: probabilities, LABEL: tf.gather(tf.constant(list(labels)), best)}


def save_signatures(
    signatures: Mapping[str, tuple[Callable[..., Any], Sequence[Any]]],
    *,
    weights: Sequence[Any],
    resources: Sequence[Any] = (),
    folder: Path,
) -> None:
    """Save functions under their signatures' names.

    signatures: each a function of tensors and the named `tf.TensorSpec` of each argument.
    weights: the Keras variables that the functions read. resources: tables.
    """
    served = tf.Module()
    # Keras' own export orders the variables by chance; listed here, the files come out alike every time.
    served.weights = [variable.value for variable in weights]
    served.resources = list(resources)
    made = {
        name: tf.function(function, input_signature=list(inputs)).get_concrete_function()
        for name, (function, inputs) in signatures.items()
    }
    tf.saved_model.save(served, str(folder), signatures=made)
    renumber_functions(folder)
