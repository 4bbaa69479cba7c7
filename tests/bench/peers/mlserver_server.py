"""MLServer with adaptive batching, in one process: ``mlserver_server.py MODELS PORT``."""

from __future__ import annotations

import asyncio
import socket
import sys

import numpy as np
import tensorflow as tf
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import install_uvloop_event_loop

BATCH_ROWS_MAX = 64
WAIT_S = 0.01


class Digits(MLModel):
    """The SavedModel's own signature."""

    async def load(self) -> bool:
        self._loaded = tf.saved_model.load(f"{sys.argv[1]}/1")
        self._signature = self._loaded.signatures["serving_default"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32, copy=False)
        (found,) = self._signature(image=tf.constant(images)).values()
        output = NumpyCodec.encode_output("probabilities", found.numpy())
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def main(port: int) -> None:
    settings = Settings(
        host="127.0.0.1",
        http_port=port,
        grpc_port=free_port(),
        metrics_endpoint=None,
        parallel_workers=0,
        debug=False,
    )
    model = ModelSettings(
        name="digits", implementation=Digits, max_batch_size=BATCH_ROWS_MAX, max_batch_time=WAIT_S
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    install_uvloop_event_loop()
    asyncio.run(main(int(sys.argv[2])))
