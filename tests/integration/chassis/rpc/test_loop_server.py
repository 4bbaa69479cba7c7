"""The server of an event loop over real sockets, with TLS and without, asked by gRPC's own client."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tidemill_chassis.rpc import frames
from tidemill_chassis.rpc.codes import CallFailed, Code, Metadata
from tidemill_chassis.rpc.loop_server import LoopServer
from tidemill_chassis.rpc.serving_side import Call

from tests.integration.chassis.rpc.sockets import LARGE, PATIENCE_S, eventually, hear_all, method
from tests.unit.chassis.rpc.wire import GREETING, block, frame, frames_of, message


class Loop:
    """A server with a loop and a thread of its own."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.held: list[Call] = []
        self.gone: list[Call] = []
        self.begun = 0
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.freed = asyncio.Event()
        handlers = {
            "/t.T/Double": self.double,
            "/t.T/Hold": self.hold,
            "/t.T/Fail": self.fail,
            "/t.T/Break": self.broken,
            "/t.T/Large": self.large,
        }
        self.server = LoopServer(handlers, message_bytes_max=LARGE)
        self.port = self.wait(self.server.start("127.0.0.1", 0, tls))

    def wait(self, talk: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(talk, self.loop).result(2 * PATIENCE_S)

    def free(self) -> None:
        self.loop.call_soon_threadsafe(self.freed.set)

    def end(self) -> None:
        self.free()
        self.wait(self.server.stop(0.0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()

    async def double(self, call: Call) -> tuple[bytes, Metadata]:
        self.begun += 1
        return call.message * 2, (("tide", "high"), ("raw-bin", b"\0\xff"))

    async def hold(self, call: Call) -> tuple[bytes, Metadata]:
        self.held.append(call)
        try:
            await self.freed.wait()
        except asyncio.CancelledError:
            self.gone.append(call)
            raise
        return b"held", ()

    async def fail(self, call: Call) -> tuple[bytes, Metadata]:
        raise CallFailed(Code.FAILED_PRECONDITION, call.message.decode(), (("tide", "low"),))

    async def broken(self, call: Call) -> tuple[bytes, Metadata]:
        raise ZeroDivisionError

    async def large(self, call: Call) -> tuple[bytes, Metadata]:
        return bytes(int(call.message)), ()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """Of localhost, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *plain))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def served() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.end()


def connected(port: int, certificate: Path | None = None) -> grpc.Channel:
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if certificate is None:
        return grpc.insecure_channel(f"127.0.0.1:{port}", options)
    trust = grpc.ssl_channel_credentials(certificate.read_bytes())
    return grpc.secure_channel(
        f"127.0.0.1:{port}", trust, [*options, ("grpc.ssl_target_name_override", "localhost")]
    )


@pytest.fixture
def channel(served) -> Iterator[grpc.Channel]:
    with connected(served.port) as made:
        yield made


def asked(stream: int, name: str, content: bytes = b"") -> bytes:
    fields = ((":method", "POST"), (":scheme", "http"), (":path", f"/t.T/{name}"))
    head = frames.headers(stream, block(("content-type", "application/grpc"), fields=fields), end=False)
    data = message(content)
    return head + frames.head(len(data), frames.DATA, frames.END_STREAM, stream) + data


def raw(port: int, said: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    sock.sendall(said)
    return sock


def test_every_caller_gets_his_own_answer(channel):
    contents = [b"%d " % number * (1 + number * 97 % 5000) for number in range(100)]

    calls = [method(channel, "Double").future(each, timeout=PATIENCE_S) for each in contents]

    assert [each.result() for each in calls] == [each * 2 for each in contents]
    assert dict(calls[0].trailing_metadata()) == {"tide": "high", "raw-bin": b"\0\xff"}


def test_over_tls_calls_are_answered_as_well(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    served = Loop(context)
    content = bytes(range(256)) * 20_000
    try:
        with connected(served.port, certificate[0]) as channel:
            assert method(channel, "Double")(content, timeout=PATIENCE_S) == content * 2
            held = method(channel, "Hold").future(b"", timeout=PATIENCE_S)
            eventually(lambda: served.held)
            held.cancel()
            eventually(lambda: served.gone)
        stranger = raw(served.port, b"no TLS")
        hear_all(stranger)
        stranger.close()
    finally:
        served.end()


def test_a_message_of_20_mb_goes_both_ways(channel):
    content = bytes(range(256)) * (20 * 2**20 // 512)

    assert method(channel, "Double")(content, timeout=PATIENCE_S) == content * 2
    assert len(method(channel, "Large")(b"90000000", timeout=PATIENCE_S)) == 90_000_000


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("Fail", grpc.StatusCode.FAILED_PRECONDITION, "Häuser\n100 %"),
        ("Break", grpc.StatusCode.UNKNOWN, "Unexpected ZeroDivisionError"),
        ("None", grpc.StatusCode.UNIMPLEMENTED, "Method not found!"),
    ],
)
def test_what_goes_wrong_is_told(channel, name, code, text):
    with pytest.raises(grpc.RpcError) as failed:
        method(channel, name)("Häuser\n100 %".encode(), timeout=PATIENCE_S)

    assert (failed.value.code(), failed.value.details()) == (code, text)
    assert method(channel, "Double")(b"tide", timeout=PATIENCE_S) == b"tidetide"


def test_a_caller_who_goes_ends_the_work(channel, served):
    cancelled = method(channel, "Hold").future(b"", timeout=PATIENCE_S)
    eventually(lambda: served.held)

    cancelled.cancel()

    eventually(lambda: served.gone)


def test_a_deadline_ends_the_call(channel, served):
    with pytest.raises(grpc.RpcError) as failed:
        method(channel, "Hold")(b"", timeout=0.1)

    assert failed.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: len(served.gone) == len(served.held))


def test_a_connection_that_is_lost_ends_its_work(served):
    sock = raw(served.port, GREETING + asked(1, "Hold") + asked(3, "Hold"))
    eventually(lambda: len(served.held) == 2)

    sock.close()

    eventually(lambda: len(served.gone) == 2)


def test_a_call_that_is_reset_as_it_comes_is_not_begun(served):
    flood = b"".join(asked(number, "Double") + frames.reset(number, 8) for number in range(1, 401, 2))
    sock = raw(served.port, GREETING + flood + asked(401, "Double", b"tide"))

    heard = b""
    while b"tidetide" not in heard:
        heard += sock.recv(65536)
    sock.close()

    assert served.begun < 100  # those whose reset came in another read


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\nHost: t\r\n\r\n", bytes(100), GREETING + bytes(9)])
def test_who_speaks_something_else_is_left(served, said):
    sock = raw(served.port, said)

    hear_all(sock)

    sock.close()


def test_who_never_reads_is_not_read_from_and_holds_up_nobody(served, channel):
    window = 2**30
    greeting = frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: window})
    deaf = raw(served.port, greeting + frames.window_update(0, window) + asked(1, "Large", b"30000000"))
    deaf.setblocking(False)
    said, blocked_since_s = 0, 0.0
    until_s = time.monotonic() + PATIENCE_S
    while not blocked_since_s or time.monotonic() - blocked_since_s < 0.2:
        assert time.monotonic() < until_s, "all was read"
        try:
            said += deaf.send(frame(99, 0, 0, bytes(100_000)))
            blocked_since_s = 0.0
        except BlockingIOError:
            blocked_since_s = blocked_since_s or time.monotonic()
            time.sleep(0.01)

    assert said < 100_000_000
    assert method(channel, "Double")(b"tide", timeout=PATIENCE_S) == b"tidetide"
    deaf.close()


def test_who_says_nothing_or_takes_nothing_is_left_after_a_while(monkeypatch):
    monkeypatch.setattr("tidemill_chassis.rpc.loop_server.GREETING_S_MAX", 0.05)
    monkeypatch.setattr("tidemill_chassis.rpc.loop_server.STALLED_S_MAX", 0.1)
    served = Loop()
    try:
        for said in (b"", frames.PREFACE[:5], GREETING + asked(1, "Large", b"100000")):
            sock = raw(served.port, said)
            hear_all(sock)
            sock.close()
    finally:
        served.end()


def stopping(served: Loop, grace_s: float) -> Callable[[], None]:
    """Begin to stop; what is given waits for its end."""
    stopped = asyncio.run_coroutine_threadsafe(served.server.stop(grace_s), served.loop)
    eventually(lambda: all(each._connection.closing for each in list(served.server._peers)), "the farewell")
    return lambda: stopped.result(2 * PATIENCE_S)


def test_calls_under_way_are_answered_before_the_end(served, channel):
    held = [method(channel, "Hold").future(b"", timeout=PATIENCE_S) for _ in range(9)]
    eventually(lambda: len(served.held) == 9)

    stopped = stopping(served, PATIENCE_S)
    served.free()
    stopped()

    assert [each.result() for each in held] == [b"held"] * 9


def test_what_is_half_said_is_heard_and_answered_before_the_end(served):
    whole = asked(1, "Large", b"100000")
    sock = raw(served.port, GREETING + whole[:-3])
    eventually(lambda: any(each._connection.streams for each in list(served.server._peers)))

    stopped = stopping(served, PATIENCE_S)
    more = frames.window_update(0, 100_000) + frames.window_update(1, 100_000)
    sock.sendall(whole[-3:] + asked(3, "Double") + more)
    heard = frames_of(hear_all(sock))
    stopped()
    sock.close()

    assert sum(len(each.payload) for each in heard if each.kind == frames.DATA) == 100_005
    assert (frames.RST_STREAM, 0, 3, b"\0\0\0\7") in heard


def test_who_is_not_done_when_the_time_is_up_is_told(served, channel):
    held = method(channel, "Hold").future(b"", timeout=PATIENCE_S)
    eventually(lambda: served.held)

    stopping(served, 0.05)()

    assert held.code() == grpc.StatusCode.UNAVAILABLE
    assert held.details() == "the server is shutting down"
