"""A batch of 64 callers in which one sent a bad row, one left and one ran out of time.

What other servers do with the same callers is shown by ``make bench-guilty``.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.emulators.gateway_process import Answered, GatewayProcess, image, wait_until
from tests.emulators.small_serving import SmallServing

INNOCENT = 61
SOON_S = "0.3"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as found:
        yield found


@pytest.fixture
def held(
    serving: SmallServing, start_gateway: Callable[..., GatewayProcess], set_labels: Callable[..., None]
) -> GatewayProcess:
    """One batch at a time, and the model waits: whoever asks now will share a batch."""
    set_labels(stable=1)
    gateway = start_gateway(TIDEMILL_GATEWAY_BATCHES_MAX="1")
    serving.gate.clear()
    return gateway


def ask(gateway: GatewayProcess, value: float, **headers: str) -> Answered:
    return gateway.predict({"instances": [image(value)]}, **headers)


def until_waiting(gateway: GatewayProcess, rows: int) -> None:
    wait_until(lambda: gateway.metric("tidemill_gateway_waiting_rows") == rows, f"{rows} rows wait")


def test_only_the_guilty_of_a_batch_fail(
    held: GatewayProcess, serving: SmallServing, pool: ThreadPoolExecutor
) -> None:
    first = pool.submit(ask, held, 0.0)
    until_waiting(held, 1)
    innocent = [pool.submit(ask, held, float(n)) for n in range(1, INNOCENT + 1)]
    bad = pool.submit(ask, held, serving.poison)
    with socket.create_connection(("127.0.0.1", held.port)) as leaver:
        body = json.dumps({"instances": [image(999.0)]}).encode()
        head = f"POST /v1/models/digits:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        leaver.sendall(head.encode() + body)
        until_waiting(held, 1 + INNOCENT + 2)
    until_waiting(held, 1 + INNOCENT + 1)
    late = ask(held, 998.0, **{"X-Request-Timeout": SOON_S})
    serving.gate.set()

    assert first.result().status == 200
    for n, answer in enumerate(each.result() for each in innocent):
        assert (answer.status, answer.json["predictions"][0][:2]) == (200, [1.0, n + 1.0])
    assert (bad.result().status, late.status) == (400, 504)
    assert "poisoned" in bad.result().json["error"]
    assert "deadline" in late.json["error"]
    assert sum(serving.batches) == 1 + INNOCENT, "who left and who was late were not run"
    until_waiting(held, 0)


def test_a_batch_that_fails_as_a_whole_never_says_200(
    held: GatewayProcess, serving: SmallServing, pool: ThreadPoolExecutor
) -> None:
    asked: list[Future[Answered]] = [pool.submit(ask, held, 1.0)]
    until_waiting(held, 1)
    asked += [pool.submit(ask, held, float(n)) for n in range(2, 17)]
    until_waiting(held, 16)

    serving.stop()

    answers = [each.result() for each in asked]
    assert {answer.status for answer in answers} == {503}
    assert all(answer.json["error"] for answer in answers)
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    serving.start(serving.address)
