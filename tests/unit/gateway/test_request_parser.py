"""Bytes into requests: whole ones, in order, within the limits, read in one way only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidemill_gateway.server.limits import HttpLimits
from tidemill_gateway.server.request_parser import Refusal, RequestParser

POST = b"POST /v1/models/digits:predict HTTP/1.1\r\nHost: x\r\n"
LIMITS = HttpLimits(body_bytes_max=1000, header_bytes_max=1000, header_fields_max=10, target_bytes_max=200)


def parser() -> RequestParser:
    return RequestParser(LIMITS, peer="127.0.0.1", secure=False)


def refused(data: bytes) -> int:
    with pytest.raises(Refusal) as refusal:
        parser().feed(data)
    return refusal.value.status


@given(st.lists(st.integers(1, 200), max_size=20))
def test_requests_are_whole_however_their_bytes_are_cut(cuts: list[int]) -> None:
    data = (
        POST
        + b"Content-Length: 5\r\n\r\nhello"
        + POST
        + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    reader = parser()

    for cut in cuts:
        reader.feed(data[:cut])
        data = data[cut:]
    reader.feed(data)

    assert [request.body for request in reader.complete] == [b"hello", b"abc"]
    assert [request.target for request in reader.complete] == [b"/v1/models/digits:predict"] * 2


def test_header_names_are_lower_case_and_values_as_sent() -> None:
    reader = parser()

    reader.feed(POST + b"X-Request-Timeout: 1.5\r\nContent-Length: 0\r\n\r\n")

    assert reader.complete[0].header(b"x-request-timeout") == b"1.5"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (POST + b"Content-Length: 5, 5\r\n\r\nhello", 400),
        (POST + b"Content-Length: +5\r\n\r\nhello", 400),
        (POST + b"Content-Length: -5\r\n\r\nhello", 400),
        (POST + b"Content-Length : 5\r\n\r\nhello", 400),
        (POST + b"Content-Length: 0x5\r\n\r\nhello", 400),
        (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", 400),
        (POST + b"X: a\r\n b\r\n\r\n", 400),
        (POST + b"X\x00: a\r\n\r\n", 400),
        (POST + b"X: a\nY: b\n\n", 400),
        (POST + b"Content-Length: 1001\r\n\r\n", 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", 413),
        (POST + b"X: " + b"y" * 3000 + b"\r\n\r\n", 431),
        (POST + b"".join(b"X%d: y\r\n" % n for n in range(11)) + b"\r\n", 431),
        (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET / HTTP/1.7\r\nHost: x\r\n\r\n", 400),
    ],
)
def test_what_is_wrong_too_large_or_readable_in_two_ways_is_refused(data: bytes, status: int) -> None:
    assert refused(data) == status


def test_a_header_that_never_ends_is_refused_while_it_grows() -> None:
    reader = parser()
    reader.feed(POST + b"X: ")

    for _ in range(19):
        reader.feed(b"y" * 100)

    with pytest.raises(Refusal) as refusal:
        reader.feed(b"y" * 100)

    assert refusal.value.status == 431


def test_what_was_whole_before_a_fault_stands() -> None:
    reader = parser()

    with pytest.raises(Refusal):
        reader.feed(POST + b"Content-Length: 2\r\n\r\nokGARBAGE\r\n\r\n")

    assert [request.body for request in reader.complete] == [b"ok"]


def test_a_wish_for_another_protocol_is_answered_as_plain_http() -> None:
    reader = parser()
    wish = POST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok"

    reader.feed(wish * 3)

    assert [(request.body, request.keep_alive) for request in reader.complete] == [(b"ok", True)] * 3


@given(st.binary(max_size=300))
def test_any_bytes_are_requests_or_a_refusal(noise: bytes) -> None:
    for data in (noise, POST + noise, POST + b"Transfer-Encoding: chunked\r\n\r\n" + noise):
        try:
            parser().feed(data)
        except Refusal as refusal:
            assert 400 <= refusal.status <= 505  # noqa: PT017  (not raising is right as well)
