"""What a client says and understands, and when it tries again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tidemill_client.protocol import (
    GatewayError,
    Refused,
    Unreachable,
    ask_prediction,
    read_prediction,
    read_refusal,
)
from tidemill_client.retrying import Attempts

HEADERS = {
    "x-tidemill-model": "digits",
    "x-tidemill-model-version": "7",
    "x-tidemill-model-label": "stable",
    "x-tidemill-batch-rows": "3",
    "x-tidemill-queue-ms": "0.1",
    "x-tidemill-compute-ms": "2.5",
}


@pytest.mark.parametrize(
    ("instances", "said"),
    [
        (np.array([[1.5, 2.0]], np.float32), [[1.5, 2.0]]),
        ([b"\x00"], [{"b64": "AA=="}]),
        (["text"], ["text"]),
        ([{"a": np.arange(2), "b": b"x"}], [{"a": [0, 1], "b": {"b64": "eA=="}}]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([b"a"], dtype=object), [{"b64": "YQ=="}]),
        (np.arange(6).reshape(2, 3).T, [[0, 3], [1, 4], [2, 5]]),
    ],
)
def test_rows_are_spelled_as_the_gateway_reads_them(instances: object, said: object) -> None:
    body = ask_prediction("digits", instances).body

    assert body is not None
    assert json.loads(body) == {"instances": said}


def test_whom_to_ask_is_in_the_path() -> None:
    assert ask_prediction("a/b", [1]).path == "/v1/models/a%2Fb:predict"
    assert ask_prediction("m", [1], version=3).path == "/v1/models/m/versions/3:predict"
    assert ask_prediction("m", [1], label="stable").path == "/v1/models/m/labels/stable:predict"
    with pytest.raises(ValueError, match="not both"):
        ask_prediction("m", [1], version=3, label="stable")


@pytest.mark.parametrize("hole", [np.array([np.nan]), [None], [float("inf")]])
def test_what_is_no_number_is_not_sent(hole: object) -> None:
    with pytest.raises(ValueError, match="NaN"):
        ask_prediction("m", hole)


def test_an_answer_is_arrays_and_its_version() -> None:
    found = read_prediction(b'{"predictions": [[0.5, NaN]]}', HEADERS)

    assert isinstance(found.values, np.ndarray)
    assert found.values.shape == (1, 2)
    assert (found.model, found.version, found.label, found.batch_rows) == ("digits", 7, "stable", 3)


def test_several_outputs_are_an_array_each() -> None:
    found = read_prediction(b'{"predictions": [{"a": 1, "b": [2]}, {"a": 3, "b": [4]}]}', HEADERS)

    assert isinstance(found.values, dict)
    assert {name: value.tolist() for name, value in found.values.items()} == {"a": [1, 3], "b": [[2], [4]]}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"outputs": 1}'])
def test_what_is_no_answer_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(GatewayError, match="no gateway's answer"):
        read_prediction(body, HEADERS)


def test_a_refusal_has_the_gateways_words() -> None:
    refused = read_refusal(429, b'{"error": "too much"}', {"retry-after": "2"})

    assert (refused.status, refused.retry_after_s, str(refused)) == (429, 2.0, "429: too much")


def attempts(attempts_max: int = 3, timeout_s: float = 10.0) -> Attempts:
    return Attempts(attempts_max=attempts_max, timeout_s=timeout_s, clock=lambda: 0.0, draw=lambda: 1.0)


def test_retry_after_is_respected() -> None:
    assert attempts().wait_s_after(Refused(429, "x", 2.0)) == 2.0


def test_waits_grow_where_the_gateway_names_none() -> None:
    tries = attempts()

    assert [tries.wait_s_after(Unreachable("x")) for _ in range(2)] == [0.05, 0.1]


@pytest.mark.parametrize(
    "error", [Refused(400, "x"), Refused(404, "x"), Refused(500, "x"), GatewayError("x")]
)
def test_what_will_be_refused_again_is_not_tried_again(error: GatewayError) -> None:
    with pytest.raises(type(error)):
        attempts().wait_s_after(error)


def test_tries_are_counted() -> None:
    tries = attempts(attempts_max=2)
    tries.wait_s_after(Unreachable("x"))

    with pytest.raises(Unreachable):
        tries.wait_s_after(Unreachable("x"))


def test_no_wait_goes_beyond_the_time() -> None:
    with pytest.raises(Refused):
        attempts(timeout_s=1.0).wait_s_after(Refused(503, "x", 2.0))
