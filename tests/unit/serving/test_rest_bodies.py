"""A body is read as its headers announce it, or refused with the reason."""

from __future__ import annotations

import gzip
import io

import pytest
from tidemill_serving.engine import rest_bodies
from tidemill_serving.engine.rest_bodies import TRAILERS_MAX, BadBody, read_body

CHUNKED = {"Transfer-Encoding": "chunked"}


@pytest.mark.parametrize(
    ("headers", "sent", "body"),
    [
        ({}, b"more", b""),
        ({"Content-Length": "4"}, b"bodymore", b"body"),
        (CHUNKED, b"2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\n\r\n", b"body"),
        (CHUNKED, b"4\r\nbody\r\n0\r\nA: b\r\n\r\n", b"body"),
        ({"Content-Length": "24", "Content-Encoding": "gzip"}, gzip.compress(b"body", mtime=0), b"body"),
    ],
)
def test_a_body_is_read_as_announced(headers: dict[str, str], sent: bytes, body: bytes) -> None:
    assert read_body(headers, io.BytesIO(sent)) == body


@pytest.mark.parametrize(
    ("headers", "sent", "status", "said"),
    [
        ({"Content-Length": "four"}, b"", 400, "not a number"),
        ({"Content-Length": "-1"}, b"", 400, "not a number"),
        ({"Content-Length": "99"}, b"", 413, "over 64 bytes"),
        (CHUNKED, b"size\r\n", 400, "a chunk has no size"),
        (CHUNKED, b"ff\r\n", 413, "over 64 bytes"),
        (CHUNKED, b"-1\r\n", 413, "over 64 bytes"),
        (CHUNKED, b"0\r\n" + b"A: b\r\n" * (TRAILERS_MAX + 1), 400, "lines follow the last chunk"),
        ({"Content-Length": "4", "Content-Encoding": "gzip"}, b"body", 400, "not gzip"),
        (
            {"Content-Length": "20", "Content-Encoding": "gzip"},
            gzip.compress(b"body", mtime=0)[:20],
            400,
            "cut off",
        ),
        (
            {"Content-Length": "29", "Content-Encoding": "gzip"},
            gzip.compress(b"x" * 99, mtime=0),
            413,
            "over 64 bytes",
        ),
    ],
)
def test_a_body_that_is_wrong_or_too_large_is_refused(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], sent: bytes, status: int, said: str
) -> None:
    monkeypatch.setattr(rest_bodies, "BODY_BYTES_MAX", 64)

    with pytest.raises(BadBody, match=said) as caught:
        read_body(headers, io.BytesIO(sent))

    assert caught.value.status == status
