"""Whatever comes in gets a clear answer, and the gateway goes on."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from tests.emulators.gateway_process import GatewayProcess, image
from tests.emulators.small_serving import SmallServing, State

GOOD = {"instances": [image(1.0)]}
AT_ONCE_S_MAX = 10.0  # a body of that size would take longer only on a starved machine


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/models/digits:predict", b"", 400, "empty"),
        ("/v1/models/digits:predict", b"not json", 400, "JSON Parse error"),
        ("/v1/models/digits:predict", b'{"instances": [', 400, "JSON Parse error"),
        ("/v1/models/digits:predict", b"[1]", 400, "object"),
        ("/v1/models/digits:predict", {"rows": []}, 400, "Missing 'inputs' or 'instances' key"),
        ("/v1/models/digits:predict", {"instances": []}, 400, "at least one"),
        ("/v1/models/digits:predict", {"instances": "x"}, 400, "list"),
        ("/v1/models/digits:predict", {"instances": ["x"]}, 400, "shape"),
        ("/v1/models/digits:predict", {"instances": [image(1.0), [[1.0]]]}, 400, "unequal shape"),
        ("/v1/models/digits:predict", {"instances": [[[1.0]]]}, 400, "shape"),
        ("/v1/models/digits:predict", {"signature_name": "nope", **GOOD}, 400, '"nope" not found'),
        ("/v1/models/letters:predict", GOOD, 404, "Servable not found for request: Latest(letters)"),
        ("/v1/models/digits/versions/99:predict", GOOD, 404, "Specific(digits, 99)"),
        ("/v1/models/digits/versions/99999999999999999999:predict", GOOD, 400, "Failed to convert version"),
        ("/v1/models/digits/labels/golden:predict", GOOD, 400, "Unrecognized servable version label: golden"),
        ("/v1/models/digits/labels/candidate:predict", GOOD, 400, "Unrecognized servable version label"),
        ("/v1/models/digits/versions/x:predict", GOOD, 400, "Malformed request: POST"),
        ("/v1/models/:predict", GOOD, 400, "Malformed request: POST"),
        ("/v1/models/digits:PREDICT", GOOD, 400, "Malformed request: POST"),
        ("/v1/models/%FF:predict", GOOD, 400, "UTF-8"),
        ("/v1/models/..%2F..%2Fetc:predict", GOOD, 404, "Servable not found"),
        ("/v1/nothing", GOOD, 400, "Malformed request: POST /v1/nothing"),
        ("/nothing", GOOD, 404, "Not Found"),
    ],
)
def test_a_bad_request_is_answered_with_its_reason(
    shared_gateway: GatewayProcess, path: str, body: Any, status: int, said: str
) -> None:
    answer = shared_gateway.ask("POST", path, body)

    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert said in answer.json["error"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_a_malformed_request(shared_gateway: GatewayProcess, method: str) -> None:
    answer = shared_gateway.ask(method, "/v1/models/digits:predict")

    assert answer.status == 400
    assert answer.json["error"].startswith(f"Malformed request: {method} /v1/models/digits:predict")


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "nonsense", ""],
)
def test_the_body_is_read_whatever_its_content_type(
    shared_gateway: GatewayProcess, content_type: str
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}

    assert shared_gateway.predict(GOOD, **headers).status == 200


def test_a_hundred_megabytes_are_refused_at_once(shared_gateway: GatewayProcess) -> None:
    started_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", shared_gateway.port), timeout=AT_ONCE_S_MAX) as connection:
        connection.sendall(
            b"POST /v1/models/digits:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n"
            + b" " * 65536
        )
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"over the limit of 16777216 bytes" in answer
    assert time.monotonic() - started_s < AT_ONCE_S_MAX


def test_a_client_that_insists_on_sending_still_reads_why(shared_gateway: GatewayProcess) -> None:
    connection = shared_gateway.connect()
    connection.putrequest("POST", "/v1/models/digits:predict")
    connection.putheader("Content-Length", str(40 * 2**20))
    connection.endheaders()
    try:
        for _ in range(40):
            connection.send(b" " * 2**20)
    except OSError:
        pytest.skip("the kernel's buffers were too small for this client to get to its answer")

    assert connection.getresponse().status == 413


def test_a_model_that_is_loading_says_so(
    shared_gateway: GatewayProcess, shared_serving: SmallServing
) -> None:
    shared_serving.models["slow"] = {1: State.LOADING}

    answer = shared_gateway.predict(GOOD, path="/v1/models/slow")

    assert answer.status == 503
    assert "try again" in answer.json["error"]
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("seconds", ["x", "-1", "0", "nan"])
def test_a_timeout_that_is_none_is_refused(shared_gateway: GatewayProcess, seconds: str) -> None:
    assert shared_gateway.predict(GOOD, **{"X-Request-Timeout": seconds}).status == 400


def test_json_nested_without_end_is_refused(shared_gateway: GatewayProcess) -> None:
    assert shared_gateway.predict(b'{"instances":' + b"[" * 1_000_000).status == 400


def test_the_gateway_survived_all_of_it(shared_gateway: GatewayProcess) -> None:
    assert shared_gateway.predict(GOOD).status == 200
    assert shared_gateway.process.poll() is None
