"""The frames of HTTP/2 (RFC 9113, sections 4 and 6), and header blocks that leave no state behind."""

from __future__ import annotations

import struct
from collections.abc import Iterable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5
MAX_HEADER_LIST_SIZE = 0x6

HEAD_BYTES = 9
WINDOW_DEFAULT = 65_535
WINDOW_MAX = 2**31 - 1
FRAME_BYTES_DEFAULT = 2**14
FRAME_BYTES_LIMIT = 2**24 - 1

_HEAD = struct.Struct(">HBBBL")
_SETTING = struct.Struct(">HL")
_TWO_WORDS = struct.Struct(">LL")
_WORD = struct.Struct(">L")

read_head = _HEAD.unpack_from
"""Length (its upper two bytes), length (its lowest), kind, flags, stream (with a reserved bit)."""


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a frame's payload."""
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream)


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(_SETTING.pack(*each) for each in values.items())
    return head(len(payload), SETTINGS, 0, 0) + payload


SETTINGS_ACK = head(0, SETTINGS, ACK, 0)


def read_settings(payload: bytes) -> Iterable[tuple[int, int]]:
    """Each setting's number and value; the payload's length is a multiple of six."""
    return _SETTING.iter_unpack(payload)


def window_update(stream: int, more: int) -> bytes:
    """So many bytes more may be sent; stream 0: on all streams together."""
    return head(4, WINDOW_UPDATE, 0, stream) + _WORD.pack(more)


def ping(payload: bytes, *, ack: bool) -> bytes:
    """payload: eight bytes."""
    return head(8, PING, ACK if ack else 0, 0) + payload


def reset(stream: int, code: int) -> bytes:
    """The stream ends at once."""
    return head(4, RST_STREAM, 0, stream) + _WORD.pack(code)


def goaway(last_stream: int, code: int, text: str = "") -> bytes:
    """No stream above `last_stream` was, or will be, looked at."""
    payload = _TWO_WORDS.pack(last_stream, code) + text.encode()[:1000]
    return head(len(payload), GOAWAY, 0, 0) + payload


def headers(stream: int, block: bytes, *, end: bool) -> bytes:
    """A header block: one frame, or, where the other side need not take one so long, several."""
    flags = END_STREAM if end else 0
    if len(block) <= FRAME_BYTES_DEFAULT:
        return head(len(block), HEADERS, flags | END_HEADERS, stream) + block
    written = head(FRAME_BYTES_DEFAULT, HEADERS, flags, stream) + block[:FRAME_BYTES_DEFAULT]
    for at in range(FRAME_BYTES_DEFAULT, len(block), FRAME_BYTES_DEFAULT):
        piece = block[at : at + FRAME_BYTES_DEFAULT]
        last = at + FRAME_BYTES_DEFAULT >= len(block)
        written += head(len(piece), CONTINUATION, END_HEADERS if last else 0, stream) + piece
    return written


def word(payload: bytes, at: int = 0) -> int:
    """A number of 32 bits without its uppermost."""
    number: int = _WORD.unpack_from(payload, at)[0]
    return number & 0x7FFFFFFF


def whole_word(payload: bytes, at: int = 0) -> int:
    """A number of 32 bits."""
    number: int = _WORD.unpack_from(payload, at)[0]
    return number


FORGET_TABLE = b"\x20"
"""Before a connection's first block: our blocks name no entry of a table, however small the other's is."""


def field(name: str, value: str | bytes) -> bytes:
    """A header field as a literal that no table keeps (RFC 7541, section 6.2.2)."""
    return (
        b"\0" + _text(name.encode()) + _text(value if isinstance(value, bytes) else value.encode("latin-1"))
    )


def _text(text: bytes) -> bytes:
    length = len(text)
    if length < 127:
        return bytes((length,)) + text
    encoded = bytearray((127,))
    length -= 127
    while length >= 128:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded) + text
