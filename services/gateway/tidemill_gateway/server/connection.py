"""One HTTP/1.1 connection: whole requests to the handler one after another, answers out in order."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from tidemill_chassis.logs import get_logger

from tidemill_gateway.server.limits import HttpLimits
from tidemill_gateway.server.messages import Handle, Request, Response, error_response, serialize
from tidemill_gateway.server.refusals import count_refusal
from tidemill_gateway.server.request_parser import Refusal, RequestParser

log = get_logger(__name__)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Host(Protocol):
    """What connections share."""

    limits: HttpLimits
    handle: Handle
    draining: bool
    connections: set[Connection]


class Connection(asyncio.Protocol):
    """Made by the server for each client.

    deadline_s: when the client will have taken too long, by the event loop's clock; the server's sweep looks.
    """

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        self._limits = host.limits
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._last = False  # nothing more is read; what is complete is still answered
        self._refused = False
        self._unread = False  # the client leaves answers lying
        self.deadline_s: float | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request is here."""
        parser = self._parser
        return self._task is None and not (parser.complete or parser.in_head or parser.in_body)

    def close(self) -> None:
        """Close once what was written is sent."""
        self._transport.close()

    def expire(self) -> None:
        """The deadline passed: say so if the client is in the middle of a request, and let go."""
        if self._refused or self._unread:
            self._transport.abort()
        elif self.is_idle:
            self._transport.close()
        else:
            self._refuse(Refusal(408, "the request took too long to arrive"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._parser = RequestParser(
            self._limits,
            peer=str(peer[0]) if isinstance(peer, tuple) else "",
            secure=transport.get_extra_info("ssl_object") is not None,
            connection=f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "",
        )
        self._host.connections.add(self)
        self._wait(self._limits.header_s)
        if len(self._host.connections) > self._limits.connections_max:
            self._refuse(Refusal(503, "too many connections: try again in a moment"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.connections.discard(self)
        self._parser.complete.clear()
        if self._task is not None:
            self._task.cancel()  # the client left: its work is dropped

    def data_received(self, data: bytes) -> None:
        if self._last:
            return
        parser = self._parser
        was_in_head, was_in_body = parser.in_head, parser.in_body
        try:
            parser.feed(data)
        except Refusal as refusal:
            self._refuse(refusal)
            self._next()
            return
        if self._task is None:
            if parser.complete:
                self._next()
                return
            if parser.in_body and not was_in_body:
                self._wait(self._limits.body_s)
                if parser.expects_continue:
                    self._transport.write(CONTINUE)
            elif parser.in_head and not was_in_head:
                self._wait(self._limits.header_s)
        elif parser.complete:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        """The client does not read: it gets `write_s`, and no further request of it is looked at."""
        self._unread = True
        self._transport.pause_reading()
        self._wait(self._limits.write_s)

    def resume_writing(self) -> None:
        self._unread = False
        self._next()

    def _next(self) -> None:
        """Start the next complete request, or wait for one to come."""
        if self._task is not None or self._unread or self._transport.is_closing():
            return
        complete = self._parser.complete
        if complete:
            self.deadline_s = None
            request = complete.pop(0)
            if complete:
                self._transport.pause_reading()
            self._task = self._loop.create_task(self._serve(request))
        elif self._last and not self._refused:
            self._transport.close()
        elif not self._last:
            self._wait(self._limits.idle_s if self.is_idle else self._limits.body_s)
            self._transport.resume_reading()

    async def _serve(self, request: Request) -> None:
        try:
            response = await self._host.handle(request)
        except asyncio.CancelledError:
            return  # the client left
        except Exception as error:  # noqa: BLE001  (one request's bug must not end the connection silently)
            log.error("request_failed", error=error)
            response = error_response(500, "something went wrong here; the log says what")
        self._task = None
        self._answer(request, response)

    def _answer(self, request: Request, response: Response) -> None:
        if self._transport.is_closing():
            return
        close = not request.keep_alive or self._host.draining
        self._transport.write(serialize(response, request, close=close))
        if close:
            self._parser.complete.clear()
            self._transport.close()
        else:
            self._next()

    def _refuse(self, refusal: Refusal) -> None:
        """Take no more. Where nothing is owed to earlier requests, say why.

        What still arrives is read and thrown away for `linger_s`: on a connection closed with unread data,
        the client's system would drop the answer too.
        """
        self._last = True
        count_refusal(refusal.status)
        if self._task is not None or self._parser.complete or self._transport.is_closing():
            return
        self._refused = True
        self._wait(self._limits.linger_s)
        response = error_response(refusal.status, str(refusal))
        self._transport.write(serialize(response, None, close=True))
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _wait(self, seconds: float) -> None:
        self.deadline_s = self._loop.time() + seconds
