"""TensorFlow as this project runs it: quiet, and deterministic. Import it from here."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf

tf.config.experimental.enable_op_determinism()

__all__ = ["keras", "tf"]
