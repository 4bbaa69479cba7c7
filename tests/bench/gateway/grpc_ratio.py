"""gRPC through the gateway beside gRPC straight to the engine: ``python -m tests.bench.gateway.grpc_ratio``.

One process asks, so many calls at a time, by turns through both in the same run; the ratio is what counts.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import grpc.aio
import numpy as np
from tidemill_gateway.wire import methods, predict_pb2, tensor_pb2

from tests.bench.gateway.ours import export_digits, run_ours
from tests.emulators.machine import free_port

CONCURRENT = 32
TURNS = 3


def request() -> bytes:
    """One instance."""
    dims = [tensor_pb2.TensorShapeProto.Dim(size=size) for size in (1, 28, 28, 1)]
    pixels = np.random.default_rng(7).random((1, 28, 28, 1)).astype(np.float32)
    tensor = tensor_pb2.TensorProto(
        dtype=tensor_pb2.DT_FLOAT,
        tensor_shape=tensor_pb2.TensorShapeProto(dim=dims),
        tensor_content=pixels.tobytes(),
    )
    spec = predict_pb2.ModelSpec(name="digits")
    return predict_pb2.PredictRequest(model_spec=spec, inputs={"image": tensor}).SerializeToString()


async def calls_per_s(target: str, seconds: float) -> float:
    """How many calls a second `CONCURRENT` callers get answered."""
    data, count, end_s = request(), 0, time.monotonic() + seconds
    async with grpc.aio.insecure_channel(target) as channel:
        call = channel.unary_unary(methods.PREDICT)

        async def ask() -> None:
            nonlocal count
            while time.monotonic() < end_s:
                await call(data, timeout=30)
                count += 1

        started_s = time.monotonic()
        await asyncio.gather(*(ask() for _ in range(CONCURRENT)))
        return count / (time.monotonic() - started_s)


def main(seconds: float) -> None:
    """Print both and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        models, port = Path(folder), free_port()
        export_digits(models)
        with run_ours(models, TIDEMILL_GATEWAY_GRPC_BIND=f"127.0.0.1:{port}"):
            targets = {"direct": f"unix:{models / 'serving.sock'}", "gateway": f"127.0.0.1:{port}"}
            found: dict[str, list[float]] = {name: [] for name in targets}
            for _ in range(TURNS):
                for name, target in targets.items():
                    found[name].append(asyncio.run(calls_per_s(target, seconds)))
    direct, gateway = median(found["direct"]), median(found["gateway"])
    told = f"direct {direct:.0f}/s, gateway {gateway:.0f}/s, ratio {gateway / direct:.2f}"
    sys.stdout.write(f"{told} ({CONCURRENT} callers)\n")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 4.0)
