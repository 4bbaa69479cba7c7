"""One caller of HTTP who costs next to nothing itself: bytes out, bytes in."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

ANSWER_S_MAX = 30.0
RECEIVE_BYTES = 65536


@dataclass(frozen=True)
class Told:
    """compute_s: what the gateway said that the call of the model took; 0 where it called none."""

    status: int
    took_s: float
    compute_s: float


class LoneCaller:
    """One connection that stays."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._head = f"POST {parts.path} HTTP/1.1\r\nHost: bench\r\nContent-Length: "
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=ANSWER_S_MAX)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> LoneCaller:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, body: bytes) -> Told:
        """One request and its whole answer."""
        data = f"{self._head}{len(body)}\r\n\r\n".encode() + body
        started_s = time.perf_counter()
        self._socket.sendall(data)
        received = b""
        while not _is_whole(received):
            chunk = self._socket.recv(RECEIVE_BYTES)
            if not chunk:
                raise ConnectionError("the gateway closed the connection")
            received += chunk
        took_s = time.perf_counter() - started_s
        compute = re.search(rb"X-Tidemill-Compute-Ms: ([0-9.]+)", received)
        return Told(int(received[9:12]), took_s, float(compute[1]) / 1000 if compute else 0.0)


def timed_s(call: Callable[[], object]) -> float:
    """How long a call takes."""
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s


def _is_whole(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return length is not None and len(body) >= int(length[1])
