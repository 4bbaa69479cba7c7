"""Compressed bodies, both ways. What a body becomes is bounded while it becomes it, not afterwards."""

from __future__ import annotations

import asyncio
import zlib
from concurrent.futures import Executor

from tidemill_gateway.server.messages import Request, Response, error_response

AT_ONCE_BYTES = 256 * 1024
"""What takes longer than so much is done in a thread."""
ANSWER_BYTES_MIN = 1024
"""Smaller answers are not worth it."""
LEVEL = 1
_ANY_HEADER = 47
"""zlib's number for: a gzip or a zlib header, whichever comes."""
_GZIP_HEADER = 31
_ENCODINGS = frozenset({b"gzip", b"x-gzip", b"deflate"})


class Unreadable(Exception):
    """The body is not what its Content-Encoding says, or becomes too large: answer with `response`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.response = error_response(status, message)


async def inflate(request: Request, *, bytes_max: int, executor: Executor) -> None:
    """Replace a compressed body by what it stands for.

    Raises:
        Unreadable: it is broken, would become larger than `bytes_max`, or is of another encoding.
    """
    encoding = request.header(b"content-encoding").strip().lower()
    if not encoding or encoding == b"identity":
        return
    if encoding not in _ENCODINGS:
        raise Unreadable(415, "Content-Encoding must be gzip, deflate or identity")
    inflater = zlib.decompressobj(_ANY_HEADER)
    try:
        start = inflater.decompress(request.body, min(AT_ONCE_BYTES, bytes_max + 1))
        rest = b""
        if inflater.unconsumed_tail and len(start) <= bytes_max:
            loop = asyncio.get_running_loop()
            room = bytes_max + 1 - len(start)
            rest = await loop.run_in_executor(executor, inflater.decompress, inflater.unconsumed_tail, room)
    except zlib.error as error:
        raise Unreadable(400, f"the body is not what Content-Encoding says: {error}") from error
    if len(start) + len(rest) > bytes_max:
        raise Unreadable(413, f"the body is over the limit of {bytes_max} bytes")
    if not inflater.eof or inflater.unused_data:
        raise Unreadable(400, "the compressed body ends too early or too late")
    request.body = start + rest
    request.headers = [field for field in request.headers if field[0] != b"content-encoding"]


async def deflate(request: Request, response: Response, *, executor: Executor) -> Response:
    """The response, compressed if the client asked for it and it is worth it."""
    if len(response.body) < ANSWER_BYTES_MIN or not _accepts_gzip(request.header(b"accept-encoding")):
        return response
    if len(response.body) > AT_ONCE_BYTES:
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(executor, _gzip, response.body)
    else:
        body = _gzip(response.body)
    fields = ((b"Content-Encoding", b"gzip"), (b"Vary", b"Accept-Encoding"))
    return Response(response.status, body, response.content_type, response.headers + fields, response.lines)


def _accepts_gzip(accepted: bytes) -> bool:
    for item in accepted.lower().split(b","):
        name, _, weight = item.partition(b";")
        if name.strip() in (b"gzip", b"x-gzip", b"*"):
            return weight.replace(b" ", b"").rstrip(b"0") not in (b"q=", b"q=0.")
    return False


def _gzip(body: bytes) -> bytes:
    squeezer = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP_HEADER)
    return squeezer.compress(body) + squeezer.flush()
