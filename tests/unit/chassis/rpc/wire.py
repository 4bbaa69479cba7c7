"""Frames, and conversations of them, as the tests of both sides write and read them."""

from __future__ import annotations

from typing import NamedTuple

from hpack import Encoder
from tidemill_chassis.rpc import frames
from tidemill_chassis.rpc.serving_side import Call, ServingConnection

PATH = "/tides.Tides/Predict"
MESSAGE_BYTES_MAX = 4 * 2**20
REQUEST = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", PATH),
    (":authority", "tides"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)
GREETING = frames.PREFACE + frames.settings({})


class Frame(NamedTuple):
    """One, taken apart."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """One, put together without a look at what it says."""
    return frames.head(len(payload), kind, flags, stream) + payload


def frames_of(data: bytes) -> list[Frame]:
    """All, of bytes that end with a frame's end."""
    found, at = [], 0
    while at < len(data):
        high, low, kind, flags, stream = frames.read_head(data, at)
        start = at + frames.HEAD_BYTES
        at = start + (high << 8 | low)
        assert at <= len(data), "a frame without its end"
        found.append(Frame(kind, flags, stream, data[start:at]))
    return found


def message(content: bytes, flag: int = 0) -> bytes:
    """With its five bytes."""
    return bytes((flag,)) + len(content).to_bytes(4, "big") + content


def block(*more: tuple[str, str], fields: tuple[tuple[str, str], ...] = REQUEST) -> bytes:
    """A request's headers without any table."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode([*fields, *more])


def request(stream: int, content: bytes = b"tide", *more: tuple[str, str]) -> bytes:
    """A whole one."""
    data = frame(frames.DATA, frames.END_STREAM, stream, message(content))
    return frames.headers(stream, block(*more), end=False) + data


def serving(
    *, greeted: bool = True, streams_max: int = 100, paths: tuple[str, ...] = (PATH,)
) -> ServingConnection:
    """A side that answers, whose own greeting has been sent."""
    made = ServingConnection([PATH], message_bytes_max=MESSAGE_BYTES_MAX, streams_max=streams_max)
    if greeted:
        made.receive(GREETING)
    made.take_output()
    return made


def answered(connection: ServingConnection) -> list[Call]:
    """The calls that became whole, each answered by its message twice."""
    calls = connection.take_calls()
    for call in calls:
        connection.answer(call, call.message * 2)
    return calls
