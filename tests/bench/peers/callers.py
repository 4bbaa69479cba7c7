"""Many callers of HTTP at the same instant, each on a connection of its own, some of whom do not stay."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from urllib.parse import urlsplit

ANSWER_S_MAX = 15.0
STREAM_BYTES_MAX = 2**24


@dataclass(frozen=True)
class Asked:
    """A request. leaves_s: after so long the caller closes its connection, whatever has come."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    leaves_s: float | None = None


@dataclass(frozen=True)
class Got:
    """status: 0 where no answer came; what came of it is then in `body`."""

    status: int
    body: bytes
    took_s: float


async def ask_all(url: str, asked: list[Asked]) -> list[Got]:
    """Connect all, then send all at once; the answers in the order of the requests."""
    parts = urlsplit(url)
    streams = [
        await asyncio.open_connection(parts.hostname, parts.port, limit=STREAM_BYTES_MAX) for _ in asked
    ]
    return await asyncio.gather(
        *(_ask(parts.path, one, *stream) for one, stream in zip(asked, streams, strict=True))
    )


async def _ask(path: str, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Got:
    loop = asyncio.get_running_loop()
    headers = {
        "Host": "bench",
        "Content-Type": "application/json",
        "Content-Length": str(len(asked.body)),
        "Connection": "close",
        **asked.headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    started_s = loop.time()
    try:
        writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + asked.body)
        if asked.leaves_s is not None:
            await asyncio.sleep(asked.leaves_s)
            return Got(0, b"left", asked.leaves_s)
        async with asyncio.timeout(ANSWER_S_MAX):
            status, body = await _answer(reader)
        return Got(status, body, loop.time() - started_s)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
        return Got(0, repr(error).encode(), loop.time() - started_s)
    finally:
        writer.transport.abort() if asked.leaves_s is not None else writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status_line, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in fields)}
    status = int(status_line.split()[1])
    if "chunked" not in headers.get("transfer-encoding", ""):
        return status, await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return status, body
