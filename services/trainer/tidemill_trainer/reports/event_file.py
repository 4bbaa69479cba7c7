"""TensorBoard's event files, without TensorFlow: framed protocol buffers with scalars.

Framing: TFRecord as in tensorflow/core/lib/io/record_writer.h. Messages: tensorflow/core/util/event.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

_CASTAGNOLI = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_VERSION = b"brain.Event:2"


@dataclass(frozen=True)
class Scalar:
    """One point of one curve."""

    tag: str
    step: int
    value: float


def event_file(scalars: Iterable[Scalar], *, wall_time_s: float) -> bytes:
    """The file's bytes; the same scalars at the same time give the same."""
    events = [_double(1, wall_time_s) + _bytes(3, _VERSION)]
    for each in scalars:
        value = _bytes(1, each.tag.encode()) + b"\x15" + struct.pack("<f", each.value)
        events.append(_double(1, wall_time_s) + b"\x10" + _varint(each.step) + _bytes(5, _bytes(1, value)))
    return b"".join(map(_framed, events))


def _framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return length + struct.pack("<I", _masked(length)) + record + struct.pack("<I", _masked(record))


def _masked(data: bytes) -> int:
    crc = _crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _table_entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (_CASTAGNOLI if value & 1 else 0)
    return value


_TABLE = [_table_entry(byte) for byte in range(256)]


def _double(field: int, value: float) -> bytes:
    return bytes([field << 3 | 1]) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
