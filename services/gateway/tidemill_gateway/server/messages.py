"""Requests and responses between the HTTP server and what answers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import orjson

JSON = b"application/json"


@dataclass(slots=True)
class Request:
    """A whole request. Header names are in lower case; `target` is path and query as sent.

    caller: whose key it showed; empty where no keys are set up.
    connection: address and port on which it came; empty where there are none.
    """

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    peer: str = ""
    secure: bool = False
    keep_alive: bool = True
    http_version: str = "1.1"
    caller: str = ""
    connection: str = ""

    def header(self, name: bytes) -> bytes:
        """The first header of that name; empty if there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        return b""


@dataclass(slots=True)
class Response:
    """An answer; Content-Length and Connection are the server's own affair.

    lines: further headers as they go out, each with its end of line.
    """

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    lines: bytes = b""


Handle = Callable[[Request], Awaitable[Response]]
_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}

_JSON_HEAD = _STATUS_LINES[200] + b"Content-Type: " + JSON + b"\r\n"


def status_line(status: int) -> bytes:
    """The first line of a response."""
    return _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status\r\n".encode()


def error_response(status: int, message: str) -> Response:
    """An error as clients of TensorFlow Serving read it."""
    return Response(status, orjson.dumps({"error": message}))


def serialize(response: Response, request: Request | None, *, close: bool) -> bytes:
    """The bytes of a response on an HTTP/1.1 connection. request: None where none could be read."""
    if request is not None and not close and _is_plain(request, response):
        length = len(response.body)
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (_JSON_HEAD, response.lines, length, response.body)
    parts = [status_line(response.status), response.lines]
    if response.content_type:
        parts.append(b"Content-Type: %b\r\n" % response.content_type)
    for name, value in response.headers:
        parts.append(b"%b: %b\r\n" % (name, value))
    if response.status not in (204, 304):
        parts.append(b"Content-Length: %d\r\n" % len(response.body))
    if close:
        parts.append(b"Connection: close\r\n\r\n")
    elif request is not None and request.http_version == "1.0":
        parts.append(b"Connection: keep-alive\r\n\r\n")
    else:
        parts.append(b"\r\n")
    if request is None or request.method != b"HEAD":
        parts.append(response.body)
    return b"".join(parts)


def _is_plain(request: Request, response: Response) -> bool:
    """Whether it is the answer that nearly all get."""
    return (
        response.status == 200
        and not response.headers
        and response.content_type is JSON
        and request.http_version == "1.1"
        and request.method != b"HEAD"
    )
