"""LitServe with batching, one worker: ``litserve_server.py MODELS PORT``."""

from __future__ import annotations

import sys

import litserve
import numpy as np
import tensorflow as tf

BATCH_REQUESTS_MAX = 64
WAIT_S = 0.002


class Digits(litserve.LitAPI):
    """The SavedModel's own signature."""

    def setup(self, device: str) -> None:
        self._loaded = tf.saved_model.load(f"{sys.argv[1]}/1")
        self._signature = self._loaded.signatures["serving_default"]

    # Annotations of these two would make LitServe check and copy the whole document by them.
    def decode_request(self, request):
        return np.array(request["instances"], dtype=np.float32)

    def batch(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return list(inputs)

    def predict(self, x: list[np.ndarray]) -> list[np.ndarray]:
        (found,) = self._signature(image=tf.constant(np.concatenate(x))).values()
        return np.split(found.numpy(), np.cumsum([len(rows) for rows in x])[:-1])

    def unbatch(self, output: list[np.ndarray]) -> list[np.ndarray]:
        return output

    def encode_response(self, output):
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    api = Digits(max_batch_size=BATCH_REQUESTS_MAX, batch_timeout=WAIT_S)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=30)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), num_api_servers=1, generate_client_file=False)
