"""Compressed requests and answers, as real clients send and want them."""

from __future__ import annotations

import gzip
import json
import subprocess
import zlib

import pytest

from tests.emulators.gateway_process import GatewayProcess, image

PATH = "/v1/models/digits:predict"
BODY = json.dumps({"instances": [image(float(n)) for n in range(30)]}).encode()


@pytest.mark.parametrize(("encoding", "press"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_request_is_answered_as_the_plain_one(
    shared_gateway: GatewayProcess, encoding: str, press: object
) -> None:
    assert callable(press)
    plain = shared_gateway.predict(BODY)
    pressed = shared_gateway.predict(press(BODY), **{"Content-Encoding": encoding})

    assert plain.status == 200
    assert pressed.body == plain.body


def test_who_asks_gets_a_compressed_answer_on_every_route(shared_gateway: GatewayProcess) -> None:
    for method, path, body in (("POST", PATH, BODY), ("GET", "/openapi.json", None)):
        plain = shared_gateway.ask(method, path, body)
        pressed = shared_gateway.ask(method, path, body, {"Accept-Encoding": "gzip"})

        assert pressed.headers["content-encoding"] == "gzip"
        assert int(pressed.headers["content-length"]) == len(pressed.body) < len(plain.body)
        assert gzip.decompress(pressed.body) == plain.body


def test_curl_understands_it(shared_gateway: GatewayProcess) -> None:
    url = f"http://127.0.0.1:{shared_gateway.port}{PATH}"
    command = ["curl", "-sS", "-m", "20", "--compressed", "-H", "Content-Encoding: gzip"]

    run = subprocess.run(
        [*command, "--data-binary", "@-", url], input=gzip.compress(BODY), capture_output=True, check=True
    )

    assert [row[1] for row in json.loads(run.stdout)["predictions"]] == [float(n) for n in range(30)]


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(b" " * (100 * 2**20)), "gzip", 413),
        (b"{}", "gzip", 400),
        (gzip.compress(BODY)[:-4], "gzip", 400),
        (BODY, "br", 415),
    ],
)
def test_bombs_and_broken_bodies_are_refused(
    shared_gateway: GatewayProcess, body: bytes, encoding: str, status: int
) -> None:
    answer = shared_gateway.predict(body, **{"Content-Encoding": encoding})

    assert answer.status == status
    assert answer.json["error"]
