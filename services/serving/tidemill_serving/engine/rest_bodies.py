"""Reads the body of a REST request, plain, chunked or gzip, within limits."""

from __future__ import annotations

import zlib
from typing import Protocol

BODY_BYTES_MAX = 256 * 2**20
"""A body, also after decompression."""

CHUNK_LINE_BYTES_MAX = 65536
TRAILERS_MAX = 64
"""Lines after the last chunk; they are read and left alone."""


class Headers(Protocol):
    """What is needed of a request's headers."""

    def get(self, name: str, failobj: str, /) -> str: ...


class Stream(Protocol):
    """What is needed of a connection."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self, size: int, /) -> bytes: ...


class BadBody(Exception):
    """The body cannot be taken; carries the status and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def read_body(headers: Headers, stream: Stream) -> bytes:
    """The whole body, as its headers announce it.

    Raises:
        BadBody: the headers or the body are wrong, or it is too large. What follows cannot be read.
    """
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        body = _chunked(stream)
    else:
        text = headers.get("Content-Length", "0").strip()
        if not text.isascii() or not text.isdigit():
            raise BadBody(400, "Content-Length is not a number")
        if int(text) > BODY_BYTES_MAX:
            raise BadBody(413, f"the body is over {BODY_BYTES_MAX} bytes")
        body = stream.read(int(text))
    if headers.get("Content-Encoding", "").strip().lower() == "gzip":
        return _inflated(body)
    return body


def _chunked(stream: Stream) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        line = stream.readline(CHUNK_LINE_BYTES_MAX)
        try:
            size = int(line.split(b";")[0].strip(), 16)
        except ValueError as error:
            raise BadBody(400, "a chunk has no size") from error
        total += size
        if size < 0 or total > BODY_BYTES_MAX:
            raise BadBody(413, f"the body is over {BODY_BYTES_MAX} bytes")
        if size == 0:
            _skip_trailers(stream)
            return b"".join(parts)
        parts.append(stream.read(size))
        stream.readline(CHUNK_LINE_BYTES_MAX)


def _skip_trailers(stream: Stream) -> None:
    for _ in range(TRAILERS_MAX):
        if stream.readline(CHUNK_LINE_BYTES_MAX) in {b"\r\n", b"\n", b""}:
            return
    raise BadBody(400, f"over {TRAILERS_MAX} lines follow the last chunk")


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
