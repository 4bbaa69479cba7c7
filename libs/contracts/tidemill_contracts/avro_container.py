"""Writes Avro containers of messages: the bytes that fastavro's writer makes of a record, in half its time.

Avro 1.11, "Binary Encoding" and "Object Container Files". What is written here is read back by fastavro, and
compared with its own encoding record by record, in the tests.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from backports import zstd

try:
    from isal.isal_zlib import compress as _deflate  # igzip: a seventh of zlib's time at the same size
except ImportError:  # a machine for which there is no wheel
    from zlib import compress as _deflate

BLOCK_BYTES = 128 * 1024
"""A block is closed when it has so much: a reader holds one at a time, and BigQuery takes up to 16 MB."""
LEVEL = 1
"""Of deflate and Zstandard alike: what is kept is mostly Base64, of which every level leaves three fifths."""
REMEMBERED_MAX = 10_000
"""Distinct texts whose form is remembered while a container is written."""
MAGIC = b"Obj\x01"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

CODECS: Mapping[str, Callable[[bytes], bytes]] = {
    "deflate": lambda block: _deflate(block, LEVEL, -zlib.MAX_WBITS),
    "zstandard": lambda block: zstd.compress(block, LEVEL),
    "null": lambda block: block,
}
"""How a block is packed, by the name that the container gives it."""


def long(value: int) -> bytes:
    """An integer as Avro writes it: zigzag, seven bits a byte, the lowest first."""
    return _varint((value << 1) ^ (value >> 63))


def _varint(left: int) -> bytes:
    made = bytearray()
    while left > 0x7F:
        made.append(left & 0x7F | 0x80)
        left >>= 7
    made.append(left)
    return bytes(made)


def header(schema: str, codec: str, sync: bytes) -> bytes:
    """What stands before the blocks. sync: 16 bytes, repeated behind every block."""
    texts = Texts()
    told = {"avro.codec": codec, "avro.schema": schema}
    pairs = b"".join(texts[name] + texts[value] for name, value in told.items())
    return MAGIC + long(len(told)) + pairs + b"\x00" + sync


def blocks(records: Sequence[bytes], codec: str, sync: bytes) -> Iterator[bytes]:
    """The records in blocks of about BLOCK_BYTES, each packed by the codec and followed by the mark."""
    compress = CODECS[codec]
    start, size = 0, 0
    for end, record in enumerate(records, start=1):
        size += len(record)
        if size >= BLOCK_BYTES or end == len(records):
            packed = compress(b"".join(records[start:end]))
            yield long(end - start) + long(len(packed)) + packed + sync
            start, size = end, 0


class Texts(dict[str, bytes]):
    """Text as Avro writes it, remembered: most attributes say the same in every message."""

    def __missing__(self, text: str) -> bytes:
        raw = text.encode()
        made = long(len(raw)) + raw
        if len(self) < REMEMBERED_MAX:
            self[text] = made
        return made


class Remembered(dict[int, bytes]):
    """Integers in a form, remembered."""

    def __init__(self, form: Callable[[int], bytes]) -> None:
        super().__init__()
        self._form = form

    def __missing__(self, value: int) -> bytes:
        made = self._form(value)
        if len(self) < REMEMBERED_MAX:
            self[value] = made
        return made


Fields = tuple[str, str, datetime, Mapping[str, str], bytes]
"""Of a record: subscription, message id, time of publication, attributes, data."""


class MessageRecords:
    """Encodes the messages of one container."""

    def __init__(self) -> None:
        self._texts = Texts()
        self._longs = Remembered(long)
        self._varints = Remembered(_varint)

    def records(self, messages: Iterable[Fields]) -> list[bytes]:
        """One record a message, its attributes in the order of their names.

        Raises:
            UnicodeEncodeError: a text holds half a surrogate pair, which no store can hold.
        """
        texts, longs = self._texts, self._longs
        made: list[bytes] = []
        before: datetime | None = None
        when = told = b""
        for subscription, ident, time, attributes, data in messages:
            if time is not before:  # messages published together share the very object
                before, when = time, self._time(time)
            if attributes:
                pairs = [texts[name] + texts[attributes[name]] for name in sorted(attributes)]
                told = b"%b%b\x00" % (longs[len(pairs)], b"".join(pairs))
            else:
                told = b"\x00"
            raw = ident.encode()
            made.append(
                b"".join((texts[subscription], longs[len(raw)], raw, when, told, longs[len(data)], data))
            )
        return made

    def _time(self, time: datetime) -> bytes:
        """Microseconds since 1970, as `long` does. What lies above 21 bits is the same for a second."""
        micros = (time - EPOCH) // _MICROSECOND
        zigzag = micros << 1
        if zigzag < 1 << 21:
            return long(micros)
        low = (zigzag & 0x7F | 0x80, zigzag >> 7 & 0x7F | 0x80, zigzag >> 14 & 0x7F | 0x80)
        return bytes(low) + self._varints[zigzag >> 21]
