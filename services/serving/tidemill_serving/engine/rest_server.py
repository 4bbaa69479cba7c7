"""The HTTP listener of the REST API: bounded connections, bodies and waits; drained at the end."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from tidemill_chassis.logs import get_logger

from tidemill_serving.engine.core import Core
from tidemill_serving.engine.deadlines import deadline_in
from tidemill_serving.engine.json_output import error_body
from tidemill_serving.engine.metrics import Metrics
from tidemill_serving.engine.rest import Answer, answer, is_ours

log = get_logger(__name__)

CONNECTIONS_MAX = 512
"""Open connections; a further one waits in the listen queue until one closes."""

BODY_BYTES_MAX = 256 * 2**20
"""A body, also after decompression."""

HEADER_LINE_BYTES_MAX = 65536
IDLE_S_MAX = 75.0
DRAIN_S_MAX = 30.0
IDLE_DRAIN_S_MAX = 1.0
SO_ATTACH_FILTER = 26
BPF_RETURN = 0x06
_NOT_FOUND = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
)


class BadBody(Exception):
    """The body cannot be taken; carries the status and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class RestServer:
    """Serves while the context is open; leaving it lets requests under way end.

    cors: answer browsers of other origins.
    metrics_path: where the metrics lie; None: nowhere.
    timeout_s: how long a request may take from when its body was read; None for ever.

    Raises:
        OSError: on making it, if the address is taken.
    """

    def __init__(
        self,
        core: Core,
        metrics: Metrics,
        *,
        port: int,
        host: str = "0.0.0.0",  # noqa: S104  (as the server listens; containers need it)
        cors: bool = False,
        metrics_path: str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        shared = {
            "core": core,
            "metrics": metrics,
            "cors": cors,
            "metrics_path": metrics_path,
            "timeout_s": timeout_s,
        }
        self._server = _Server((host, port), type("Handler", (_Handler,), shared))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="rest", daemon=True
        )

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> RestServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.draining = True
        self._server.shutdown()
        self._server.take_in_the_rest()
        self._server.server_close()
        if not self._server.drained(DRAIN_S_MAX):
            log.warning("requests_cut_off", drain_s=DRAIN_S_MAX)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.draining = False
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._busy = 0
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._slots.acquire()
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changed:
                self._open.discard(request)
                self._changed.notify_all()
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's fault; anything else is ours."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            log.error("connection_broke", error=error)

    def take_in_the_rest(self) -> None:
        """Accept what the kernel accepted for us already; closing the listener would reset those connections.

        A filter that drops every packet keeps new ones from coming while the last are taken in; their first
        packet is sent again a second later and finds nobody listening. Closing leaves connections alone.
        """
        drop_all = struct.pack("HBBI", BPF_RETURN, 0, 0, 0)
        instruction = ctypes.create_string_buffer(drop_all)
        program = struct.pack("HL", 1, ctypes.addressof(instruction))
        with suppress(OSError):  # a kernel without such filters: the last few may be reset
            self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        self.socket.setblocking(False)
        for _ in range(self.request_queue_size):
            try:
                request, address = self.socket.accept()
            except OSError:
                return
            request.setblocking(True)
            self.process_request(request, address)

    def begin(self) -> None:
        with self._changed:
            self._busy += 1

    def end(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def drained(self, seconds: float) -> bool:
        """Wait until no request is under way, then close what idles; say whether it came to that.

        A client that goes on asking is told with its next answer to connect elsewhere; so every connection
        gets a moment to bring one more request.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._open, IDLE_DRAIN_S_MAX)
            done = self._changed.wait_for(lambda: self._busy == 0, seconds)
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            return done


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "tidemill-model-server"
    sys_version = ""
    timeout = IDLE_S_MAX
    wbufsize = -1
    disable_nagle_algorithm = True
    core: Core
    metrics: Metrics
    cors: bool
    metrics_path: str | None
    timeout_s: float | None
    server: _Server

    def handle_any(self) -> None:
        self.server.begin()
        try:
            self._send(self._answer())
        finally:
            self.server.end()

    def __getattr__(self, name: str) -> Any:
        """Every verb comes here; which ones are right is for the API to say."""
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def _answer(self) -> Answer:
        try:
            body = self._body()
        except BadBody as error:
            self.close_connection = True
            return Answer(error.status, error_body(str(error)))
        path = self.path.encode("latin-1").decode("utf-8", "surrogateescape")
        if self.metrics_path is not None and path.partition("?")[0] == self.metrics_path:
            return Answer(200, self.metrics.exposition(), "text/plain")
        if not is_ours(path):
            return Answer(404, _NOT_FOUND, "text/html")
        if self.command == "OPTIONS":
            return self._preflight()
        started_s = time.monotonic()
        found = answer(self.core, self.command, path, body, deadline_s=deadline_in(self.timeout_s))
        self.metrics.observe_rest(path, found.status, time.monotonic() - started_s)
        return found

    def _preflight(self) -> Answer:
        origin = self.headers.get("Origin", "")
        if not origin.startswith(("http://", "https://")):
            return Answer(400, error_body("Origin must be an http(s) URL"))
        return Answer(200, b"")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = self._chunked()
        else:
            text = self.headers.get("Content-Length", "0").strip()
            if not text.isascii() or not text.isdigit():
                raise BadBody(400, "Content-Length is not a number")
            if int(text) > BODY_BYTES_MAX:
                raise BadBody(413, f"the body is over {BODY_BYTES_MAX} bytes")
            body = self.rfile.read(int(text))
        if self.headers.get("Content-Encoding", "").strip().lower() == "gzip":
            return _inflated(body)
        return body

    def _chunked(self) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            line = self.rfile.readline(HEADER_LINE_BYTES_MAX)
            try:
                size = int(line.split(b";")[0].strip(), 16)
            except ValueError as error:
                raise BadBody(400, "a chunk has no size") from error
            total += size
            if size < 0 or total > BODY_BYTES_MAX:
                raise BadBody(413, f"the body is over {BODY_BYTES_MAX} bytes")
            if size == 0:
                while self.rfile.readline(HEADER_LINE_BYTES_MAX) not in {b"\r\n", b"\n", b""}:
                    pass
                return b"".join(parts)
            parts.append(self.rfile.read(size))
            self.rfile.readline(HEADER_LINE_BYTES_MAX)

    def _send(self, found: Answer) -> None:
        self.send_response(found.status)
        self.send_header("Content-Type", found.content_type)
        self.send_header("Content-Length", str(len(found.body)))
        for name, value in {**found.headers, **self._cors_headers()}.items():
            self.send_header(name, value)
        if self.server.draining:
            self.close_connection = True
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(found.body)
        self.wfile.flush()

    def _cors_headers(self) -> Mapping[str, str]:
        if not self.cors:
            return {}
        return {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": "POST, GET, OPTIONS",
            "Access-Control-Allow-Headers": "Content-Type",
        }

    def log_message(self, format: str, *args: object) -> None:
        """Metrics count requests; a line each would cost more than the request."""


def _inflated(body: bytes) -> bytes:
    """The content of a gzip body, within the limit.

    Raises:
        BadBody: it is not gzip, is cut off, or is too large.
    """
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        content = inflater.decompress(body, BODY_BYTES_MAX + 1)
    except zlib.error as error:
        raise BadBody(400, "the body is not gzip, as its Content-Encoding says") from error
    if len(content) > BODY_BYTES_MAX:
        raise BadBody(413, f"the body is over {BODY_BYTES_MAX} bytes")
    if not inflater.eof:
        raise BadBody(400, "the gzip body is cut off")
    return content
