"""HTTP as clients really speak it: kept alive, pipelined, cut up, slow, leaving early."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.emulators.gateway_process import GatewayProcess, image, wait_until
from tests.emulators.small_serving import SmallServing

PATH = "/v1/models/digits:predict"
LET_GO_S_MAX = 20.0


def post(value: float, *further: str, path: str = PATH) -> bytes:
    """A prediction as bytes."""
    body = json.dumps({"instances": [image(value)]}).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *further, "", ""]
    return "\r\n".join(lines).encode() + body


def sums(received: bytes) -> list[float]:
    """The row sums that a stream of answers tells, in order."""
    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in received.split(b"HTTP/1.1 ")[1:]]
    return [json.loads(body)["predictions"][0][1] for body in bodies if b"predictions" in body]


def statuses(received: bytes) -> list[int]:
    """The statuses of a stream of answers."""
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


@pytest.fixture
def open_socket(shared_gateway: GatewayProcess) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", shared_gateway.port), timeout=10) as connection:
        yield connection


def test_pipelined_requests_are_answered_in_order(shared_gateway: GatewayProcess) -> None:
    hot = b"".join(post(float(n)) for n in range(10))
    cold = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

    received = shared_gateway.raw(hot + cold + post(10.0, "Connection: close"))

    assert sums(received) == [float(n) for n in range(11)]
    assert statuses(received) == [200] * 12


def test_a_connection_is_kept_for_many_requests(shared_gateway: GatewayProcess) -> None:
    connection = shared_gateway.connect()

    for number in range(20):
        connection.request("POST", PATH, json.dumps({"instances": [image(number)]}))
        assert json.loads(connection.getresponse().read())["predictions"][0][1] == number
        sock = connection.sock
    assert connection.sock is sock
    connection.close()


def test_http_1_0_is_closed_unless_it_asks_to_stay(shared_gateway: GatewayProcess) -> None:
    plain = post(1.0).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    staying = post(2.0, "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0", 1)

    received = shared_gateway.raw(staying + plain)

    assert sums(received) == [2.0, 1.0]
    assert b"Connection: keep-alive" in received


def test_a_chunked_body_byte_by_byte_is_read_right(open_socket: socket.socket) -> None:
    body = json.dumps({"instances": [image(5.0)]}).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
    )
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:100], body[100:])) + b"0\r\n\r\n"

    for byte in head + chunks[:200]:
        open_socket.sendall(bytes([byte]))
    open_socket.sendall(chunks[200:])

    received = b""
    while more := open_socket.recv(65536):
        received += more
    assert sums(received) == [5.0]


def test_a_client_that_waits_for_continue_gets_it(open_socket: socket.socket) -> None:
    head, body = post(6.0, "Expect: 100-continue", "Connection: close").split(b"\r\n\r\n", 1)
    open_socket.sendall(head + b"\r\n\r\n")

    assert open_socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    open_socket.sendall(body)
    received = b""
    while more := open_socket.recv(65536):
        received += more
    assert sums(received) == [6.0]


def test_curl_with_its_defaults_is_answered(shared_gateway: GatewayProcess) -> None:
    url = f"http://127.0.0.1:{shared_gateway.port}{PATH}"
    for further in ([], ["--http1.0"], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
        run = subprocess.run(
            ["curl", "-sS", "-m", "10", *further, "-d", json.dumps({"instances": [image(7.0)]}), url],
            capture_output=True,
            check=True,
        )
        assert json.loads(run.stdout)["predictions"][0][1] == 7.0, further


def test_head_has_the_length_and_no_body(shared_gateway: GatewayProcess) -> None:
    received = shared_gateway.raw(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert statuses(received) == [200]
    assert received.endswith(b"\r\n\r\n")


def test_smuggled_requests_are_not_answered(shared_gateway: GatewayProcess) -> None:
    hidden = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    both = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        % (5 + len(hidden))
    )

    received = shared_gateway.raw(both + hidden)

    assert statuses(received) == [400]


@pytest.fixture
def impatient(start_gateway, set_labels) -> GatewayProcess:
    set_labels(stable=1)
    return start_gateway(
        TIDEMILL_GATEWAY_HEADER_S="0.5",
        TIDEMILL_GATEWAY_BODY_S="0.5",
        TIDEMILL_GATEWAY_IDLE_S="0.5",
        TIDEMILL_GATEWAY_CONNECTIONS_MAX="20",
    )


@pytest.mark.parametrize(
    ("start", "drip"),
    [(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX: ".encode(), b"y"), (post(1.0)[:200], b"0")],
    ids=["headers", "body"],
)
def test_a_slow_sender_is_told_and_let_go(impatient: GatewayProcess, start: bytes, drip: bytes) -> None:
    started_s = time.monotonic()
    received = b""
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=0.1) as connection:
        connection.sendall(start)
        while time.monotonic() - started_s < LET_GO_S_MAX:
            try:
                connection.sendall(drip)
                received += (more := connection.recv(65536))
                if not more:
                    break
            except TimeoutError:
                continue
            except OSError:
                break

    assert statuses(received) == [408]
    assert time.monotonic() - started_s < LET_GO_S_MAX


def test_an_idle_connection_is_closed_without_a_word(impatient: GatewayProcess) -> None:
    assert impatient.raw(b"") == b""


def test_slow_senders_do_not_slow_the_others(impatient: GatewayProcess) -> None:
    slow = [socket.create_connection(("127.0.0.1", impatient.port)) for _ in range(10)]
    for connection in slow:
        connection.sendall(post(1.0)[:200])

    took_s = []
    for _ in range(5):
        started_s = time.monotonic()
        assert impatient.predict({"instances": [image(1.0)]}).status == 200
        took_s.append(time.monotonic() - started_s)

    assert min(took_s) < 0.2
    for connection in slow:
        connection.close()


def test_too_many_connections_are_told_so(impatient: GatewayProcess) -> None:
    held = [socket.create_connection(("127.0.0.1", impatient.port)) for _ in range(20)]
    try:
        assert statuses(impatient.raw(post(1.0))) == [503]
    finally:
        for connection in held:
            connection.close()


def waits(gateway: GatewayProcess, rows: int) -> bool:
    return gateway.metric("tidemill_gateway_waiting_rows") == rows


def test_the_work_of_a_client_that_left_is_dropped(gateway: GatewayProcess, serving: SmallServing) -> None:
    serving.gate.clear()
    holding = []
    for number in range(3):  # two batches go out and wait; the third stays in the queue
        connection = socket.create_connection(("127.0.0.1", gateway.port))
        connection.sendall(post(float(number)))
        holding.append(connection)
        wait_until(partial(waits, gateway, number + 1), "it waits")

    holding[2].close()
    wait_until(lambda: gateway.metric("tidemill_gateway_waiting_rows") == 2, "the third is dropped")
    serving.gate.set()
    wait_until(lambda: gateway.metric("tidemill_gateway_waiting_rows") == 0, "the others are answered")

    assert sum(serving.batches) == 2
    for connection in holding:
        connection.close()


def test_above_the_bound_callers_are_told_when_to_come_back(start_gateway, set_labels, serving) -> None:
    set_labels(stable=1)
    gateway = start_gateway(TIDEMILL_GATEWAY_ROWS_MAX="10")
    gateway.predict({"instances": [image(1.0)] * 10})
    serving.gate.clear()
    with socket.create_connection(("127.0.0.1", gateway.port)) as waiting:
        body = json.dumps({"instances": [image(1.0)] * 8}).encode()
        waiting.sendall(
            b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(body)) + body
        )
        wait_until(lambda: gateway.metric("tidemill_gateway_waiting_rows") == 8, "eight rows wait")

        refused = gateway.predict({"instances": [image(1.0)] * 3})
        too_many = gateway.predict({"instances": [image(1.0)] * 11})
    serving.gate.set()

    assert (refused.status, too_many.status) == (429, 413)
    assert 1 <= int(refused.headers["retry-after"]) <= 30
