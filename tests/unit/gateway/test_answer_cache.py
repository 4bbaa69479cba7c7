"""What an answer is called in the cache, what is taken for it, and how much is kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidemill_contracts.errors import Unavailable
from tidemill_gateway import answer_cache
from tidemill_gateway.answer_cache import AnswerCache, CacheLimits
from tidemill_gateway.plane.calls import Rows
from tidemill_gateway.plane.lanes import Answer, LaneKey
from tidemill_gateway.plane.tensors import Column
from tidemill_gateway.wire import tensor_pb2 as pb

KEY = LaneKey("digits", 1, "serving_default", (("x", pb.DT_STRING, ()),))
NOBODY = "redis://127.0.0.1:9/0"


def texts(*values: bytes) -> Rows:
    return Rows((Column(pb.DT_STRING, (), list(values)),), len(values))


def name_of(key: LaneKey, rows: Rows, digest: str | None = "d1", **limits: Any) -> str | None:
    async def ask() -> str | None:
        async def content(model: str, version: int) -> str | None:
            if digest == "away":
                raise Unavailable("the store is away")
            return digest

        cache = AnswerCache(NOBODY, CacheLimits(seconds=60, **limits), content)
        try:
            return await cache.name_of(key, rows)
        finally:
            await cache.close()

    return asyncio.run(ask())


def test_whatever_would_be_answered_otherwise_is_called_otherwise() -> None:
    rows = texts(b"abc")
    asked = [
        (KEY, rows, "d1"),
        (KEY._replace(model="letters"), rows, "d1"),
        (KEY._replace(version=2), rows, "d1"),
        (KEY._replace(signature="encoded"), rows, "d1"),
        (KEY._replace(output_filter=("y",)), rows, "d1"),
        (KEY._replace(inputs=(("z", pb.DT_STRING, ()),)), rows, "d1"),
        (KEY._replace(inputs=(("x", pb.DT_STRING, (1,)),)), rows, "d1"),
        (KEY, texts(b"abd"), "d1"),
        (KEY, texts(b"abc", b"abc"), "d1"),
        (KEY, rows, "d2"),
    ]

    names = {name_of(*one) for one in asked}

    assert len(names) == len(asked)
    assert name_of(KEY, rows) in names
    assert name_of(KEY._replace(suspect=True), rows) == name_of(KEY, rows), "who asks makes no difference"


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_rows_are_never_confused_by_where_one_ends(one: list[bytes], other: list[bytes]) -> None:
    first = answer_cache._digest_of(KEY, texts(*one))
    second = answer_cache._digest_of(KEY, texts(*other))

    assert (first == second) == (one == other)


@pytest.mark.parametrize("digest", [None, "away"])
def test_a_content_that_nobody_names_is_not_looked_up(digest: str | None) -> None:
    assert name_of(KEY, texts(b"abc"), digest) is None


def test_large_requests_are_not_looked_up() -> None:
    assert name_of(KEY, texts(b"x" * 100), request_bytes_max=50) is None


def test_an_answer_is_read_as_it_was_written_and_only_for_whom_it_is() -> None:
    outputs = {"y": np.array([[0.25, np.nan]], np.float32), "t": np.array([b"a", b"\xff"], object)}
    answer = Answer(outputs, "digits", 1, 4, 0.1, 0.2)

    data = answer_cache._dump(KEY, answer)
    read = answer_cache._read(data, KEY)

    assert read is not None
    assert np.array_equal(read.outputs["y"], outputs["y"], equal_nan=True)
    assert read.outputs["t"].tolist() == [b"a", b"\xff"]
    assert read == replace(
        answer, outputs=read.outputs, batch_rows=0, queue_s=0.0, compute_s=0.0, cached=True
    )
    for other in ({"model": "letters"}, {"version": 2}, {"signature": "encoded"}):
        assert answer_cache._read(data, KEY._replace(**other)) is None
    for broken in (b"", b"\xff\xff", data[:-3]):
        assert answer_cache._read(broken, KEY) is None


@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0, 30)), max_size=60))
def test_what_is_alive_never_exceeds_the_bound(writes: list[tuple[int, float]]) -> None:
    written = answer_cache._Written(10.0, 100)
    now_s, alive = 0.0, list[tuple[float, int]]()
    for size, pause_s in writes:
        now_s += pause_s
        if written.add(size, now_s):
            alive.append((now_s, size))
        assert sum(size for at_s, size in alive if now_s - at_s < 10.0) <= 100


def test_room_comes_back_once_things_have_expired() -> None:
    written = answer_cache._Written(10.0, 100)

    assert written.add(100, 0.0)
    assert not written.add(1, 9.0)
    assert written.add(100, 25.0)
