"""BentoML with adaptive batching, one worker: ``bentoml_server.py MODELS PORT``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import bentoml
import numpy as np
import tensorflow as tf

BATCH_ROWS_MAX = 128
LATENCY_MS_MAX = 1000
MODELS = "BENCH_MODELS"


@bentoml.service(workers=1, traffic={"timeout": 30, "max_concurrency": 1000})
class Digits:
    """The SavedModel's own signature."""

    def __init__(self) -> None:
        self._loaded = tf.saved_model.load(f"{os.environ[MODELS]}/1")
        self._signature = self._loaded.signatures["serving_default"]

    @bentoml.api(batchable=True, max_batch_size=BATCH_ROWS_MAX, max_latency_ms=LATENCY_MS_MAX)
    def predict(self, instances: np.ndarray) -> np.ndarray:
        (found,) = self._signature(image=tf.constant(instances.astype(np.float32))).values()
        return found.numpy()


if __name__ == "__main__":
    os.environ[MODELS] = sys.argv[1]
    service = f"{Path(__file__).stem}:Digits"
    folder = str(Path(__file__).parent)
    command = ["bentoml", "serve", service, "--working-dir", folder, "--port", sys.argv[2]]
    os.execvp(command[0], [*command, "--host", "127.0.0.1"])  # noqa: S606  (a shell is not wanted)
