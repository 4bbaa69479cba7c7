"""Triton with dynamic batching, its model in Python: ``pytriton_server.py MODELS PORT``."""

from __future__ import annotations

import socket
import sys

import numpy as np
import tensorflow as tf
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, QueuePolicy, Tensor, TimeoutAction
from pytriton.triton import Triton, TritonConfig

BATCH_ROWS_MAX = 128
HTTP_THREADS = 32
"""With its default of 8, 16 and 64 callers got fewer answers a second."""

loaded = tf.saved_model.load(f"{sys.argv[1]}/1")
signature = loaded.signatures["serving_default"]


@batch
def predict(image: np.ndarray) -> dict[str, np.ndarray]:
    """The SavedModel's own signature."""
    (found,) = signature(image=tf.constant(image)).values()
    return {"probabilities": found.numpy()}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=int(sys.argv[2]),
        http_thread_count=HTTP_THREADS,
        grpc_port=free_port(),
        metrics_port=free_port(),
        log_verbose=0,
    )
    policy = QueuePolicy(timeout_action=TimeoutAction.REJECT, allow_timeout_override=True)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="digits",
            infer_func=predict,
            inputs=[Tensor(name="image", dtype=np.float32, shape=(28, 28, 1))],
            outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(10,))],
            config=ModelConfig(
                max_batch_size=BATCH_ROWS_MAX, batcher=DynamicBatcher(default_queue_policy=policy)
            ),
        )
        triton.serve()
