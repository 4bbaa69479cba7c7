"""Hands a request to a WSGI application in a thread: the way of every route that is not hot."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote_to_bytes

from tidemill_gateway.server.messages import Request, Response, error_response

WAITING_MAX = 256
"""Requests that may wait for a thread; beyond it the answer is 503."""

CALLER = "tidemill.caller"
"""Where the environment names whose key was shown."""

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WsgiBridge:
    """Runs `app` in `threads` threads of its own."""

    def __init__(self, app: WsgiApp, *, threads: int) -> None:
        self._app = app
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="wsgi")
        self._waiting = 0

    async def __call__(self, request: Request) -> Response:
        if self._waiting >= WAITING_MAX:
            return error_response(503, "too many requests are waiting: try again in a moment")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._run, request)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let the threads end."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, request: Request) -> Response:
        started: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            started["status"] = int(status.split(" ", 1)[0])
            started["headers"] = headers

        chunks = self._app(environ_of(request), start_response)
        try:
            body = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        content_type = b""
        headers: list[tuple[bytes, bytes]] = []
        for name, value in started["headers"]:
            lower = name.lower()
            if lower == "content-type":
                content_type = value.encode("latin-1")
            elif lower not in ("content-length", "connection", "transfer-encoding"):
                headers.append((name.encode("latin-1"), value.encode("latin-1")))
        return Response(started["status"], body, content_type, tuple(headers))


def environ_of(request: Request) -> dict[str, Any]:
    """The WSGI environment (PEP 3333) of a request."""
    path, _, query = request.target.partition(b"?")
    host, _, port = request.header(b"host").decode("latin-1").partition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method.decode("latin-1"),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "RAW_URI": request.target.decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": host or "localhost",
        "SERVER_PORT": port or ("443" if request.secure else "80"),
        "SERVER_PROTOCOL": f"HTTP/{request.http_version}",
        "REMOTE_ADDR": request.peer,
        CALLER: request.caller,
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if request.secure else "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers:
        if b"_" in name or name == b"content-length":
            continue  # an underscore would be taken for a dash: a header that pretends to be another
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ
