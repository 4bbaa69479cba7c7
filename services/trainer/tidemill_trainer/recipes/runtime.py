"""TensorFlow as this project runs it: quiet, and deterministic. Import it from here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf

tf.config.experimental.enable_op_determinism()

HALF = "mixed_float16"
WHOLE = "float32"


@contextmanager
def precision(policy: str | None = None) -> Iterator[None]:
    """Networks built in here compute in half precision where there is a GPU. Weights stay float32 either way,
    so those of a network built in here fit one built outside, for measuring and export.

    policy: for tests; else as the machine has it.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy or (HALF if tf.config.list_physical_devices("GPU") else WHOLE))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


__all__ = ["keras", "precision", "tf"]
