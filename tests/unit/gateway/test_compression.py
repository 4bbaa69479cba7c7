"""Compressed bodies: read right, bounded while they grow, written where they were asked for."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidemill_gateway.server.compression import AT_ONCE_BYTES, Unreadable, deflate, inflate
from tidemill_gateway.server.messages import Request, Response

MEBIBYTE = 2**20


def read(body: bytes, encoding: bytes, bytes_max: int = MEBIBYTE) -> bytes:
    """What the body stands for."""
    request = Request(b"POST", b"/", [(b"content-encoding", encoding)], body)
    with ThreadPoolExecutor(1) as executor:
        asyncio.run(inflate(request, bytes_max=bytes_max, executor=executor))
    return request.body


def written(body: bytes, accepted: bytes) -> Response:
    request = Request(b"GET", b"/", [(b"accept-encoding", accepted)], b"")
    with ThreadPoolExecutor(1) as executor:
        return asyncio.run(deflate(request, Response(200, body), executor=executor))


@pytest.mark.parametrize("size", [0, 1, 1000, AT_ONCE_BYTES, AT_ONCE_BYTES + 1, MEBIBYTE])
def test_what_was_compressed_is_read(size: int) -> None:
    plain = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    assert read(gzip.compress(plain), b"gzip") == plain
    assert read(gzip.compress(plain), b"X-GZip") == plain
    assert read(zlib.compress(plain), b"deflate") == plain
    assert read(plain, b"identity") == plain


@pytest.mark.parametrize("encoding", [b"br", b"gzip, gzip", b"zstd", b"compress", b"nonsense"])
def test_another_encoding_is_415(encoding: bytes) -> None:
    with pytest.raises(Unreadable) as refused:
        read(b"x", encoding)

    assert refused.value.response.status == 415


@pytest.mark.parametrize(
    "body",
    [b"", b"no gzip", gzip.compress(b"x" * 100)[:-1], gzip.compress(b"x") + b"y", gzip.compress(b"x") * 2],
    ids=["empty", "not gzip", "cut off", "more behind", "two members"],
)
def test_broken_compression_is_400(body: bytes) -> None:
    with pytest.raises(Unreadable) as refused:
        read(body, b"gzip")

    assert refused.value.response.status == 400


def test_a_bomb_is_413_and_never_grows_above_the_limit() -> None:
    bomb = gzip.compress(b"\0" * (64 * MEBIBYTE), 9)
    assert len(bomb) < MEBIBYTE

    tracemalloc.start()
    with pytest.raises(Unreadable) as refused:
        read(bomb, b"gzip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert refused.value.response.status == 413
    assert peak < 4 * MEBIBYTE


def test_one_byte_over_the_limit_is_over() -> None:
    assert len(read(gzip.compress(b"x" * 100), b"gzip", bytes_max=100)) == 100
    with pytest.raises(Unreadable):
        read(gzip.compress(b"x" * 101), b"gzip", bytes_max=100)


@given(st.binary(max_size=300), st.sampled_from([b"gzip", b"deflate"]))
def test_whatever_comes_is_read_or_refused(body: bytes, encoding: bytes) -> None:
    with contextlib.suppress(Unreadable):
        assert len(read(body, encoding)) <= MEBIBYTE


@pytest.mark.parametrize("accepted", [b"gzip", b"deflate, gzip;q=0.5", b"*", b"GZIP"])
def test_who_asks_for_gzip_gets_it(accepted: bytes) -> None:
    for size in (2000, AT_ONCE_BYTES + 1):
        response = written(b"x" * size, accepted)

        assert gzip.decompress(response.body) == b"x" * size
        assert dict(response.headers) == {b"Content-Encoding": b"gzip", b"Vary": b"Accept-Encoding"}


@pytest.mark.parametrize("accepted", [b"", b"br", b"gzip;q=0", b"gzip; q=0.000", b"identity"])
def test_who_does_not_gets_it_plain(accepted: bytes) -> None:
    assert written(b"x" * 2000, accepted).headers == ()


def test_a_small_answer_stays_plain() -> None:
    assert written(b"x" * 100, b"gzip").headers == ()
