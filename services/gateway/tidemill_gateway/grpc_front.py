"""TensorFlow Serving's gRPC API at the gateway: the server; what it answers is in grpc_routes.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
import grpc.aio
from tidemill_chassis.settings import Address

from tidemill_gateway.grpc_routes import GrpcRoutes, Handler
from tidemill_gateway.settings import Tls

CONCURRENT_MAX = 4096


class GrpcFront:
    """One per gateway; belongs to its event loop."""

    def __init__(self, routes: GrpcRoutes, *, message_bytes_max: int) -> None:
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", message_bytes_max),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=CONCURRENT_MAX,
        )
        self._server.add_generic_rpc_handlers(_by_service(routes.handlers()))

    async def start(self, bind: Address, tls: Tls | None) -> int:
        """Listen; the port.

        Raises:
            RuntimeError: the address is taken.
        """
        if tls is None:
            port: int = self._server.add_insecure_port(str(bind))
        else:
            pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
            port = self._server.add_secure_port(str(bind), grpc.ssl_server_credentials([pair]))
        await self._server.start()
        return port

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; those under way have `grace_s`."""
        await self._server.stop(grace_s)


def _by_service(handlers: Mapping[str, Handler]) -> tuple[Any, ...]:
    services: dict[str, dict[str, Any]] = {}
    for path, handler in handlers.items():
        _, service, method = path.split("/")
        services.setdefault(service, {})[method] = grpc.unary_unary_rpc_method_handler(handler)
    return tuple(grpc.method_handlers_generic_handler(name, own) for name, own in services.items())
