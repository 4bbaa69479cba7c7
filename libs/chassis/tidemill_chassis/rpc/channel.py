"""Asks one server, from an event loop: a connection that comes by itself, and again when it was lost."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from time import monotonic
from typing import cast

from tidemill_chassis.logs import get_logger
from tidemill_chassis.rpc.calling_side import Asked, CallingConnection, NotLookedAt
from tidemill_chassis.rpc.codes import CallFailed, Code, ConnectionFault, Metadata

log = get_logger(__name__)

CONNECT_S_MAX = 5.0
BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 1.0
"""After a connection that could not be made, calls fail at once for so long; each time twice, up to this."""

ASKED_MAX = 3
"""How often a call is tried that a server did not look at."""

UNSENT_BYTES_MAX = 256 * 2**20
"""What may wait for a server that takes nothing: meanwhile, further calls fail."""

UNACKNOWLEDGED_MS_MAX = 20_000
"""A TCP connection whose other end acknowledges nothing for so long is lost."""


class Channel:
    """target: ``host:port``, ``dns:///host:port`` or ``unix:/path``. Make it inside the loop that uses it.

    message_bytes_max: of one answer.

    Raises:
        ValueError: the target is none.
    """

    def __init__(self, target: str, *, message_bytes_max: int) -> None:
        self._path = target.removeprefix("unix:").removeprefix("//") if target.startswith("unix:") else ""
        self._host, _, port = target.removeprefix("dns:///").removeprefix("dns:").rpartition(":")
        if not self._path and not (self._host and port.isdigit()):
            raise ValueError(f"{target!r} is no target: host:port, dns:///host:port or unix:/path")
        self._port = 0 if self._path else int(port)
        self._message_bytes_max = message_bytes_max
        self._link: _Link | None = None
        self._connecting: asyncio.Task[_Link] | None = None
        self._failed = ""
        self._backoff_s = BACKOFF_S_MIN
        self._next_try_s = 0.0
        self._links: set[_Link] = set()
        self._closed = False

    async def call(self, method: str, message: bytes, timeout_s: float, metadata: Metadata = ()) -> bytes:
        """One call by its full name, ``/package.Service/Method``, bytes to bytes.

        Raises:
            CallFailed: it ended with another code than OK; UNAVAILABLE: nobody answers there.
        """
        until_s = monotonic() + timeout_s
        for attempt in range(1, ASKED_MAX + 1):
            link = self._link
            if link is None or link.connection.is_spent:
                link = await self._linked(until_s)
            try:
                return await link.call(method, message, until_s, metadata)
            except NotLookedAt:
                if attempt == ASKED_MAX:
                    raise
        raise AssertionError("unreachable")

    async def _linked(self, until_s: float) -> _Link:
        """A connection that may be asked; many wait for the same one."""
        if self._closed:
            raise CallFailed(Code.CANCELLED, "the channel was closed")
        if self._connecting is None:
            if monotonic() < self._next_try_s:
                raise CallFailed(Code.UNAVAILABLE, self._failed)
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            async with asyncio.timeout(max(0.0, until_s - monotonic())):
                return await asyncio.shield(self._connecting)
        except asyncio.CancelledError:
            if not self._closed:
                raise
            raise CallFailed(Code.CANCELLED, "the channel was closed") from None
        except TimeoutError:
            raise CallFailed(Code.DEADLINE_EXCEEDED, "Deadline Exceeded: no connection yet") from None

    async def _connect(self) -> _Link:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                if self._path:
                    _, link = await loop.create_unix_connection(self._new_link, self._path)
                else:
                    _, link = await loop.create_connection(self._new_link, self._host.strip("[]"), self._port)
        except (OSError, TimeoutError) as error:
            self._next_try_s = monotonic() + self._backoff_s
            self._backoff_s = min(2 * self._backoff_s, BACKOFF_S_MAX)
            where = f"unix:{self._path}" if self._path else f"{self._host}:{self._port}"
            self._failed = f"failed to connect to {where}: {error or 'it took too long'}"
            raise CallFailed(Code.UNAVAILABLE, self._failed) from error
        finally:
            self._connecting = None
        self._link = link
        self._links.add(link)
        return link

    def _new_link(self) -> _Link:
        authority = "localhost" if self._path else f"{self._host}:{self._port}"
        return _Link(self, CallingConnection(authority, message_bytes_max=self._message_bytes_max))

    def answered(self) -> None:
        """The other side speaks our language: the next loss is waited for as the first."""
        self._backoff_s = BACKOFF_S_MIN

    def lost(self, link: _Link) -> None:
        """The connection is gone, or takes no more calls."""
        self._links.discard(link)
        if self._link is link:
            self._link = None

    async def close(self) -> None:
        """Let go of the server; calls under way are cancelled."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        for link in list(self._links):
            link.connection.abandon(CallFailed(Code.CANCELLED, "the channel was closed"))
            link.transport.close()


class _Link(asyncio.Protocol):
    """One connection of a channel."""

    transport: asyncio.Transport

    def __init__(self, channel: Channel, connection: CallingConnection) -> None:
        self.connection = connection
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._heard = False
        self._why = "the connection was lost"

    async def call(self, method: str, message: bytes, until_s: float, metadata: Metadata) -> bytes:
        connection = self.connection
        while not connection.has_room:
            await self._room(until_s)
        if connection.is_spent:  # since it was made, or while others had its room
            raise NotLookedAt(Code.UNAVAILABLE, self._why)
        if self.transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            raise CallFailed(Code.UNAVAILABLE, "the server takes nothing: too much waits for it already")
        timeout_s = until_s - monotonic()
        if timeout_s <= 0:
            raise _late()
        answer: asyncio.Future[bytes] = self._loop.create_future()

        def done(asked: Asked) -> None:
            if answer.done():
                return
            if asked.error is None:
                answer.set_result(asked.message or b"")
            else:
                answer.set_exception(asked.error)

        asked = connection.ask(method, message, timeout_s, metadata, done)
        self._flush()
        timer = self._loop.call_later(timeout_s, self._cancel, asked, _late())
        try:
            return await answer
        except asyncio.CancelledError:
            self._cancel(asked, CallFailed(Code.CANCELLED, "the caller has gone"))
            raise
        finally:
            timer.cancel()
            if self._waiting:
                self._let_in()

    def _cancel(self, asked: Asked, error: CallFailed) -> None:
        self.connection.cancel(asked, error)
        self._flush()

    async def _room(self, until_s: float) -> None:
        """Wait until another call has ended."""
        turn = self._loop.create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(max(0.0, until_s - monotonic())):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.done() and not turn.cancelled():
                self._let_in()  # ours by now, and not needed: the next one's
            if isinstance(error, TimeoutError):
                raise _late() from None
            raise
        if self.connection.is_spent:
            raise NotLookedAt(Code.UNAVAILABLE, self._why)

    def _let_in(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _flush(self) -> None:
        output = self.connection.take_output()
        if output:
            self.transport.write(output)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)
        self._flush()

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        try:
            connection.receive(data)
        except ConnectionFault as fault:
            log.warning("rpc_connection_refused", reason=str(fault))
            self._flush()
            self.transport.close()
            self._end(f"the other side broke a rule of HTTP/2: {fault}")
            return
        if not self._heard:
            self._heard = True
            self._channel.answered()
        if connection.has_output:
            self._flush()
        if connection.is_spent:
            self._channel.lost(self)
            while self._waiting:
                self._let_in()  # to another connection
            if not connection.streams:
                self.transport.close()
        elif self._waiting and connection.has_room:
            self._let_in()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"the connection was lost: {error}" if error else "the connection was closed")

    def _end(self, text: str) -> None:
        if self.connection.goodbye is None:
            self._why = text
        self._channel.lost(self)
        self.connection.goodbye = 0
        self.connection.abandon(CallFailed(Code.UNAVAILABLE, text))
        while self._waiting:
            self._let_in()


def _late() -> CallFailed:
    return CallFailed(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
