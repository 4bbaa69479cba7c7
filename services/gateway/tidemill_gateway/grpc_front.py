"""TensorFlow Serving's gRPC API at the gateway: the server; what it answers is in grpc_routes.py."""

from __future__ import annotations

import ssl

from tidemill_chassis.rpc.loop_server import LoopServer
from tidemill_chassis.settings import Address

from tidemill_gateway.grpc_routes import GrpcRoutes
from tidemill_gateway.settings import Tls


class GrpcFront:
    """One per gateway; belongs to its event loop."""

    def __init__(self, routes: GrpcRoutes, *, message_bytes_max: int) -> None:
        self._server = LoopServer(routes.handlers(), message_bytes_max=message_bytes_max)

    async def start(self, bind: Address, tls: Tls | None) -> int:
        """Listen; the port.

        Raises:
            OSError: the address is taken, or the certificate cannot be read.
        """
        context = None
        if tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls.certificate, tls.key)
        return await self._server.start(bind.host, bind.port, context)

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; those under way have `grace_s`."""
        await self._server.stop(grace_s)
