"""The gRPC listener: TCP and a Unix socket, with health, drained at the end."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tidemill_chassis.logs import get_logger
from tidemill_chassis.rpc.serving_side import Call
from tidemill_chassis.rpc.threads_server import STREAMS_MAX, ThreadsServer

from tidemill_serving.engine.core import Core
from tidemill_serving.engine.grpc_health import Health
from tidemill_serving.engine.grpc_services import Services
from tidemill_serving.engine.metrics import Metrics
from tidemill_serving.engine.status import invalid_argument

log = get_logger(__name__)

DRAIN_S_MAX = 30.0
"""How long calls under way may take to end after SIGTERM."""

CLOSING_S = 0.5
"""So long after SIGTERM, calls that come are told to go elsewhere; only then gRPC stops to listen."""

MESSAGE_BYTES_MAX = 2**31 - 1
"""As the server has it: no limit but that of protobuf."""

BYTES_ARGUMENT = "grpc.max_receive_message_length"
STREAMS_ARGUMENT = "grpc.max_concurrent_streams"


class GrpcServer:
    """Serves while the context is open; leaving it drains.

    at_once, threads: calls at work, without those that are held up and with them; see `ThreadsServer`.
    arguments: of the channel, as `channel_arguments` reads them.

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
        limits = {BYTES_ARGUMENT: MESSAGE_BYTES_MAX, STREAMS_ARGUMENT: STREAMS_MAX}
        for name, value in arguments:
            if name in limits and isinstance(value, int) and 0 < value <= limits[name]:
                limits[name] = value
            elif name not in limits or value != -1:
                log.warning("grpc_argument_ignored", name=name, value=value, heeded=sorted(limits))
        self._services = Services(core, metrics)
        self._health = Health()
        self._server = ThreadsServer(
            {**self._services.handlers(), **self._health.handlers()},
            {Health.WATCH: self._watch},
            at_once=at_once,
            most=threads,
            message_bytes_max=limits[BYTES_ARGUMENT],
            streams_max=limits[STREAMS_ARGUMENT],
        )
        self.port = 0
        if port:
            self.port = self._listen(socket.AF_INET, (host, port), f"{host}:{port}")
        if socket_path:
            Path(socket_path).unlink(missing_ok=True)
            self._listen(socket.AF_UNIX, socket_path, f"unix:{socket_path}")

    def _listen(self, family: int, address: str | tuple[str, int], shown: str) -> int:
        listener = socket.socket(family)
        try:
            if family == socket.AF_INET:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            self._server.listen(listener)
        except OSError as error:
            listener.close()
            raise OSError(f"cannot listen on {shown}: {error.strerror or error}; is it taken?") from error
        return int(listener.getsockname()[1]) if family == socket.AF_INET else 0

    def _watch(self, call: Call) -> None:
        self._health.watch(call, self._server.push)

    def __enter__(self) -> GrpcServer:
        self._server.start()
        self._health.say(serving=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._health.say(serving=False)
        self._services.closing = True
        time.sleep(CLOSING_S)
        self._server.close(DRAIN_S_MAX)


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
