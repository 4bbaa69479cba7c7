"""Servers of the tests on sockets of their own, asked by gRPC's own client."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from tidemill_chassis.rpc.codes import CallFailed, Code
from tidemill_chassis.rpc.serving_side import Call
from tidemill_chassis.rpc.threads_server import ThreadsServer

PATIENCE_S = 30.0
LARGE = 32 * 2**20


def eventually(is_so: Callable[[], object], what: str = "it") -> None:
    """Wait until something is so."""
    until_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until_s, f"{what} did not come"
        time.sleep(0.005)


class Tides:
    """Handlers, and what the tests steer them with."""

    def __init__(self) -> None:
        self.freed = threading.Event()
        self.held = threading.Semaphore(0)
        self.at_work = 0
        self.at_work_max = 0
        self.seen: list[Call] = []
        self._lock = threading.Lock()

    def handlers(self) -> dict[str, Callable[[Call], bytes]]:
        return {
            "/t.T/Double": lambda call: call.message * 2,
            "/t.T/Hold": self.hold,
            "/t.T/Fail": self.fail,
            "/t.T/Break": lambda call: call.message[99:100] + bytes((1 // len(call.message[:0]),)),
            "/t.T/Nothing": lambda call: None,  # type: ignore[dict-item,return-value]
            "/t.T/Large": lambda call: bytes(int(call.message)),
            "/t.T/Told": self.told,
        }

    def hold(self, call: Call) -> bytes:
        with self._lock:
            self.at_work += 1
            self.at_work_max = max(self.at_work_max, self.at_work)
            self.seen.append(call)
        self.held.release()
        freed = self.freed.wait(PATIENCE_S)
        with self._lock:
            self.at_work -= 1
        return b"held" if freed else b"forgotten"

    def fail(self, call: Call) -> bytes:
        raise CallFailed(
            Code.FAILED_PRECONDITION, call.message.decode(), (("tide", "low"), ("raw-bin", b"\0\xff"))
        )

    def told(self, call: Call) -> bytes:
        self.seen.append(call)
        return repr(sorted(call.metadata)).encode()


@contextmanager
def threads_serving(
    folder: Path, tides: Tides, *, at_once: int = 2, most: int = 4, **more: int
) -> Iterator[tuple[ThreadsServer, str]]:
    """One that listens on a Unix socket, and gRPC's name of it."""
    path = str(folder / "rpc.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    server = ThreadsServer(
        tides.handlers(), {}, at_once=at_once, most=most, **{"message_bytes_max": LARGE, **more}
    )
    server.listen(listener)
    server.start()
    try:
        yield server, path
    finally:
        tides.freed.set()
        server.close(0.0)


def open_channel(path: str) -> grpc.Channel:
    """Of gRPC's own client; each has connections of its own."""
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.insecure_channel(f"unix:{path}", options=options)


@contextmanager
def grpc_channel(path: str) -> Iterator[grpc.Channel]:
    """Until the context is left."""
    with open_channel(path) as channel:
        yield channel


def method(channel: grpc.Channel, name: str) -> Any:
    """Bytes to bytes."""
    return channel.unary_unary(f"/t.T/{name}")


def hear_all(sock: socket.socket) -> bytes:
    """What comes until the other side closes."""
    sock.settimeout(PATIENCE_S)
    heard = b""
    try:
        while more := sock.recv(65536):
            heard += more
    except ConnectionError:
        pass
    return heard
