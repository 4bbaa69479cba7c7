"""KServe's Python server, one worker; it has no batching of its own: ``kserve_server.py MODELS PORT``."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import tensorflow as tf
from kserve import Model, ModelServer


class Digits(Model):
    """The SavedModel's own signature."""

    def __init__(self, models: str) -> None:
        super().__init__("digits")
        self._loaded = tf.saved_model.load(f"{models}/1")
        self._signature = self._loaded.signatures["serving_default"]
        self.ready = True

    async def predict(self, payload: Any, *_: Any, **__: Any) -> dict[str, Any]:
        images = tf.constant(np.array(payload["instances"], dtype=np.float32))
        (found,) = self._signature(image=images).values()
        return {"predictions": found.numpy().tolist()}


if __name__ == "__main__":
    ModelServer(http_port=int(sys.argv[2]), enable_grpc=False, workers=1).start([Digits(sys.argv[1])])
