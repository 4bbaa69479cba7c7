"""Accepts connections, enforces their deadlines, and lets them go in order when it stops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence

from tidemill_gateway.server.connection import Connection
from tidemill_gateway.server.limits import HttpLimits
from tidemill_gateway.server.messages import Handle

SWEEP_S = 0.25
BACKLOG = 1024
LET_GO_S = 0.02


class HttpServer:
    """Serves `handle` on sockets that are bound already. Belongs to one event loop."""

    def __init__(self, handle: Handle, limits: HttpLimits) -> None:
        self.handle = handle
        self.limits = limits
        self.draining = False
        self.connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._sockets: list[socket.socket] = []
        self._tls: ssl.SSLContext | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None = None) -> None:
        """Accept from now on."""
        loop = asyncio.get_running_loop()
        self._sockets, self._tls = list(sockets), tls
        for sock in sockets:
            sock.setblocking(False)
            server = await loop.create_server(self._connect, sock=sock.dup(), ssl=tls, backlog=BACKLOG)
            self._servers.append(server)
        self._sweeper = loop.create_task(self._sweep())

    async def stop(self, *, notice_s: float, grace_s: float) -> None:
        """Stop without failing a request.

        For `notice_s` everything is still answered, each answer saying that the connection closes, so that
        clients and balancers look elsewhere. Then nothing new is accepted, connections that stayed idle are
        closed after `notice_s` more, and the others have `grace_s` to finish.
        """
        self.draining = True
        await asyncio.sleep(notice_s)
        await self._stop_accepting()
        await asyncio.sleep(notice_s)
        end_s = asyncio.get_running_loop().time() + grace_s
        while self.connections and asyncio.get_running_loop().time() < end_s:
            for connection in list(self.connections):
                if connection.is_idle:
                    connection.close()
            await asyncio.sleep(0.02)
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def _stop_accepting(self) -> None:
        """Close the listening sockets without resetting those who are connected and not yet accepted.

        The event loop lets go first; what queued up meanwhile is taken in the same breath as the close.
        """
        for server in self._servers:
            server.close()
        await asyncio.sleep(LET_GO_S)
        late: list[socket.socket] = []
        for sock in self._sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    late.append(sock.accept()[0])
            sock.close()
        loop = asyncio.get_running_loop()
        for connection in late:
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._connect, connection, ssl=self._tls)

    def _connect(self) -> Connection:
        return Connection(self, asyncio.get_running_loop())

    async def _sweep(self) -> None:
        """One timer for all connections is cheaper than one for each."""
        loop = asyncio.get_running_loop()
        while True:
            now_s = loop.time()
            for connection in list(self.connections):
                if connection.deadline_s is not None and connection.deadline_s <= now_s:
                    connection.expire()
            await asyncio.sleep(SWEEP_S)
