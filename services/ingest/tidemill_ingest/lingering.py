"""Lets a client whose body is refused unread finish sending it, so that it gets the answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

from flask import Flask, Response, request

LINGER_BYTES_MAX = 256 * 1024 * 1024
LINGER_S_MAX = 10.0
SILENCE_S_MAX = 1.0
READ_BYTES = 64 * 1024


def install(app: Flask, *, unread_bytes_min: int) -> None:
    """After an answer of 4xx or 5xx to a body of at least so many bytes, discard what is still to come.

    The answer is sent first. A client that waits for it before it sends is not kept waiting.
    """

    @app.after_request
    def linger(response: Response) -> Response:
        length = request.content_length
        if response.status_code >= 400 and (length is None or length >= unread_bytes_min):
            environ = request.environ
            response.call_on_close(lambda: discard(environ))
        return response


def discard(environ: Mapping[str, Any]) -> None:
    """Read and forget the rest of the body; where it does not end within limits, hang up on the sender."""
    connection: socket.socket | None = environ.get("gunicorn.socket")
    if connection is None:
        return
    with suppress(OSError):  # the client is silent or gone
        connection.settimeout(SILENCE_S_MAX)
        if _reaches_end(environ["wsgi.input"]):
            connection.settimeout(None)
            return
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)


def _reaches_end(stream: IO[bytes]) -> bool:
    end_s = time.monotonic() + LINGER_S_MAX
    left_bytes = LINGER_BYTES_MAX
    while left_bytes > 0 and time.monotonic() < end_s:
        read = len(stream.read(READ_BYTES))
        if read == 0:
            return True
        left_bytes -= read
    return False
