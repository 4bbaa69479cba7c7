"""Answers calls from an event loop: a task for each."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import cast

from tidemill_chassis.logs import get_logger
from tidemill_chassis.rpc.codes import CallFailed, Code, ConnectionFault, Metadata
from tidemill_chassis.rpc.serving_side import Call, ServingConnection

log = get_logger(__name__)

CONNECTIONS_MAX = 4_096
"""Open at once; a further one is closed as soon as it comes."""

STREAMS_MAX = 1_024
"""Calls that one connection may have open."""

CALLS_MAX = 4_096
"""Calls at work; a further one is told RESOURCE_EXHAUSTED."""

GREETING_S_MAX = 20.0
"""A connection that has not said by then that it speaks HTTP/2 is closed."""

UNSENT_BYTES_MAX = 2**20
"""From a connection that leaves so much unsent, nothing more is read until it takes it."""

STALLED_S_MAX = 60.0
"""A connection that takes nothing for so long is closed."""

DRAIN_LOOK_S = 0.01

Handler = Callable[[Call], Awaitable[tuple[bytes, Metadata]]]
"""A call's answer and its trailing metadata; raises CallFailed. It is cancelled if the caller goes."""


class LoopServer:
    """Serves from `start` to `stop`, in the running loop.

    handlers: by the method's full name, ``/package.Service/Method``. message_bytes_max: of one request.
    """

    def __init__(self, handlers: Mapping[str, Handler], *, message_bytes_max: int) -> None:
        self._handlers = dict(handlers)
        self._message_bytes_max = message_bytes_max
        self._server: asyncio.Server | None = None
        self._peers: set[_Peer] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; the port. tls: its ALPN is set here.

        Raises:
            OSError: the address is taken.
        """
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._new_peer, host, port, ssl=tls, reuse_port=False)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; those under way have `grace_s`."""
        if self._server is not None:
            self._server.close()
        for peer in list(self._peers):
            peer.say_goodbye()
        until_s = monotonic() + grace_s
        while (self._tasks or any(peer.is_busy for peer in self._peers)) and monotonic() < until_s:
            await asyncio.sleep(DRAIN_LOOK_S)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # so their callers are told
        for peer in list(self._peers):
            peer.transport.close()

    def _new_peer(self) -> _Peer:
        connection = ServingConnection(
            self._handlers, message_bytes_max=self._message_bytes_max, streams_max=STREAMS_MAX
        )
        return _Peer(self, connection)

    # What a peer asks of its server.

    def admit(self, peer: _Peer) -> bool:
        """Whether there is room for one more connection."""
        if len(self._peers) >= CONNECTIONS_MAX:
            return False
        self._peers.add(peer)
        return True

    def forget(self, peer: _Peer) -> None:
        """It is closed."""
        self._peers.discard(peer)

    def begin(self, call: Call, peer: _Peer) -> None:
        """Answer a call, in a task."""
        if not call.active:
            return  # it was asked and cancelled in the same breath
        if len(self._tasks) >= CALLS_MAX:
            peer.fail(call, CallFailed(Code.RESOURCE_EXHAUSTED, "too many calls at work here"))
            return
        task = asyncio.get_running_loop().create_task(self._answer(call, peer))
        call.owner = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: Call, peer: _Peer) -> None:
        try:
            message, metadata = await self._handlers[call.path](call)
            peer.answer(call, message, metadata)
        except CallFailed as error:
            peer.fail(call, error)
        except asyncio.CancelledError:
            peer.fail(call, CallFailed(Code.UNAVAILABLE, "the server is shutting down"))
        except Exception as error:  # noqa: BLE001  (the caller is told, and the server lives)
            log.error("call_failed", error=error)
            peer.fail(call, CallFailed(Code.UNKNOWN, f"Unexpected {type(error).__name__}"))


class _Peer(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self, server: LoopServer, connection: ServingConnection) -> None:
        self._server = server
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._stalled_since_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if not self._server.admit(self):
            self.transport.abort()
            return
        self.transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._connection.peer = _peer_name(transport.get_extra_info("peername"))
        self._watch = self._loop.call_later(GREETING_S_MAX, self._look)
        self._flush()

    def data_received(self, data: bytes) -> None:
        connection = self._connection
        try:
            connection.receive(data)
        except ConnectionFault as fault:
            log.info("rpc_connection_refused", peer=connection.peer, reason=str(fault))
            self._flush()
            self.transport.close()
            return
        for call in connection.take_cancelled():
            _cancel(call)
        for call in connection.take_calls():
            self._server.begin(call, self)
        if connection.has_output:
            self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._server.forget(self)
        if self._watch is not None:
            self._watch.cancel()
        self._connection.abandon()
        for call in self._connection.take_cancelled():
            _cancel(call)

    def pause_writing(self) -> None:
        self._stalled_since_s = monotonic()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._stalled_since_s = None
        self.transport.resume_reading()

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way, or something of an answer is not out yet."""
        return self._connection.owes or self.transport.get_write_buffer_size() > 0

    def answer(self, call: Call, message: bytes, metadata: Metadata) -> None:
        """Dropped if nobody waits for it any more."""
        self._connection.answer(call, message, metadata)
        self._flush()

    def fail(self, call: Call, error: CallFailed) -> None:
        """Dropped if nobody waits for it any more."""
        self._connection.fail(call, error)
        self._flush()

    def say_goodbye(self) -> None:
        """The client takes its further calls elsewhere."""
        self._connection.say_goodbye()
        self._connection.closing = True
        self._flush()

    def _flush(self) -> None:
        output = self._connection.take_output()
        if output and not self.transport.is_closing():
            self.transport.write(output)

    def _look(self) -> None:
        """Close who does not speak, and who does not listen."""
        now_s = monotonic()
        since_s = self._stalled_since_s
        stalled = since_s is not None and now_s - since_s > STALLED_S_MAX
        stuck = self._connection.stuck_s(now_s) > STALLED_S_MAX
        if not self._connection.greeted or stalled or stuck or self.transport.is_closing():
            self.transport.abort()
            return
        self._watch = self._loop.call_later(STALLED_S_MAX / 4, self._look)


def _cancel(call: Call) -> None:
    if isinstance(call.owner, asyncio.Task):
        call.owner.cancel()


def _peer_name(address: object) -> str:
    """As gRPC names peers."""
    if isinstance(address, tuple) and len(address) == 2:
        return f"ipv4:{address[0]}:{address[1]}"
    if isinstance(address, tuple) and len(address) > 2:
        return f"ipv6:[{address[0]}]:{address[1]}"
    return "unix:"
