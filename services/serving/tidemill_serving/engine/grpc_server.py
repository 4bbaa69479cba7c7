"""The gRPC listener: TCP and a Unix socket, with health, drained at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from tidemill_serving.engine.call_threads import CallThreads
from tidemill_serving.engine.core import Core
from tidemill_serving.engine.grpc_services import ModelService, PredictionService
from tidemill_serving.engine.metrics import Metrics
from tidemill_serving.engine.status import invalid_argument

DRAIN_S_MAX = 30.0
"""How long calls under way may take to end after SIGTERM."""

CLOSING_S = 0.5
"""So long after SIGTERM, calls that come are told to go elsewhere; only then gRPC stops to listen."""

CALLS_WAITING_MAX = 2048
"""Calls that may wait for a thread; a further one is told RESOURCE_EXHAUSTED at once."""

SERVICES = ("", "ModelService", "PredictionService")
_UNLIMITED = -1


class GrpcServer:
    """Serves while the context is open; leaving it drains.

    at_once: calls at work, without those that are held up. threads: threads in all; see `CallThreads`.

    Threads were measured against asyncio at 3,200-byte messages over a Unix socket: 0.24 to 0.32 ms of CPU
    a call against 0.28 to 0.35, and 0.34 to 0.48 for asyncio with an executor, which a call that computes
    would need.

    Raises:
        OSError: on making it, if an address is taken.
    """

    def __init__(
        self,
        core: Core,
        metrics: Metrics,
        *,
        port: int,
        socket_path: str,
        threads: int,
        at_once: int,
        host: str = "0.0.0.0",  # noqa: S104  (as the server listens; containers need it)
        arguments: Sequence[tuple[str, int | str]] = (),
    ) -> None:
        options = [
            ("grpc.max_receive_message_length", _UNLIMITED),
            ("grpc.max_send_message_length", _UNLIMITED),
            ("grpc.so_reuseport", 0),
            *arguments,
        ]
        self._threads = CallThreads(at_once=at_once, most=threads)
        self._server = grpc.server(
            self._threads,
            options=options,
            maximum_concurrent_rpcs=threads + CALLS_WAITING_MAX,
        )
        self._health = health.HealthServicer()
        self._predictions = PredictionService(core, metrics)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self._predictions, self._server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(core, metrics), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.port = self._listen(f"{host}:{port}") if port else 0
        if socket_path:
            Path(socket_path).unlink(missing_ok=True)
            self._listen(f"unix:{socket_path}")

    def _listen(self, address: str) -> int:
        try:
            return int(self._server.add_insecure_port(address))
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: is it taken?") from error

    def __enter__(self) -> GrpcServer:
        self._server.start()
        self._say(health_pb2.HealthCheckResponse.SERVING)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._predictions.closing = True
        time.sleep(CLOSING_S)
        self._server.stop(DRAIN_S_MAX).wait()
        self._threads.shutdown()

    def _say(self, status: int) -> None:
        for service in SERVICES:
            self._health.set(service, status)


def channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """``key=value,…`` as arguments of the server; whole numbers are numbers.

    Raises:
        StatusError: INVALID_ARGUMENT: an entry has no ``=``.
    """
    arguments: list[tuple[str, int | str]] = []
    for entry in filter(None, text.split(",")):
        key, equals, value = entry.partition("=")
        if not equals:
            raise invalid_argument(f"grpc_channel_arguments: {entry} is not key=value")
        arguments.append((key, int(value) if value.lstrip("-").isdigit() else value))
    return arguments
