"""SIGTERM ends the gateway without a failed request."""

from __future__ import annotations

import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import pytest

from tests.emulators.gateway_process import WAIT_S, GatewayProcess, image, wait_until
from tests.emulators.small_serving import SmallServing


@pytest.fixture
def gateway(start_gateway, set_labels) -> GatewayProcess:
    """One that gives notice as it does by default."""
    set_labels(stable=1)
    return start_gateway(TIDEMILL_GATEWAY_NOTICE_S="0.5")


BODY = json.dumps({"instances": [image(1.0)]})


def keep_asking(gateway: GatewayProcess) -> tuple[int, list[str]]:
    """Ask on kept connections until the gateway takes no new one; answers, and what went wrong."""
    answered = 0
    failures: list[str] = []
    while True:
        connection = gateway.connect()
        try:
            connection.connect()
        except ConnectionRefusedError:
            return answered, failures
        try:
            while True:
                connection.request("POST", "/v1/models/digits:predict", BODY)
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    failures.append(str(response.status))
                answered += 1
                if response.will_close:
                    break
        except (OSError, HTTPException) as error:
            failures.append(repr(error))
        finally:
            connection.close()


def test_under_load_every_request_is_answered_until_no_connection_is_taken(gateway: GatewayProcess) -> None:
    with ThreadPoolExecutor(16) as pool:
        clients = [pool.submit(keep_asking, gateway) for _ in range(16)]
        wait_until(lambda: gateway.metric("tidemill_gateway_requests_total") > 200, "load is on")

        gateway.process.send_signal(signal.SIGTERM)
        results = [client.result(WAIT_S) for client in clients]

    assert gateway.process.wait(WAIT_S) == 0
    assert [failure for _, failures in results for failure in failures] == []
    assert sum(answered for answered, _ in results) > 200


def test_a_request_under_way_is_finished(gateway: GatewayProcess, serving: SmallServing) -> None:
    serving.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gateway.predict, {"instances": [image(3.0)]})
        wait_until(lambda: gateway.metric("tidemill_gateway_waiting_rows") == 1, "it is under way")
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not accepts(gateway), "no connection is taken any more")

        serving.gate.set()

        assert waiting.result(WAIT_S).json["predictions"][0][1] == 3.0
    assert gateway.process.wait(WAIT_S) == 0


def test_readiness_says_no_first(gateway: GatewayProcess) -> None:
    connection = gateway.connect()
    connection.connect()

    gateway.process.send_signal(signal.SIGTERM)
    connection.request("GET", "/readyz")
    wait_until(lambda: not gateway.is_ready(), "readiness says no")

    assert connection.getresponse().status in (200, 503)
    assert gateway.process.wait(WAIT_S) == 0


def accepts(gateway: GatewayProcess) -> bool:
    try:
        socket.create_connection(("127.0.0.1", gateway.port)).close()
    except ConnectionRefusedError:
        return False
    return True
