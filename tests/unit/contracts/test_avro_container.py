"""Our own writer of Avro makes what fastavro makes, byte by byte where that is laid down."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import fastavro
import pytest
from fastavro.read import block_reader
from hypothesis import given, settings
from hypothesis import strategies as st
from tidemill_contracts.avro_container import BLOCK_BYTES, EPOCH, MessageRecords, long
from tidemill_contracts.stored_batch import SCHEMA, StoredMessage, decode_batch, encode_batch

TEXT = st.text(st.characters(codec="utf-8"), max_size=200)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=12))])
TIMES = st.integers(-(10**15), 2 * 10**17).map(lambda us: EPOCH + timedelta(microseconds=us))
ZONED = st.builds(datetime.astimezone, TIMES, ZONES)
MESSAGES = st.builds(
    StoredMessage, TEXT, TEXT, ZONED, st.dictionaries(TEXT, TEXT, max_size=4), st.binary(max_size=300)
)


FASTAVROS_SCHEMA = fastavro.parse_schema(SCHEMA)


def fastavros(message: StoredMessage) -> bytes:
    """The record as fastavro writes it; a map keeps the order that it is given in."""
    record = message._asdict() | {"attributes": dict(sorted(message.attributes.items()))}
    file = io.BytesIO()
    fastavro.schemaless_writer(file, FASTAVROS_SCHEMA, record)
    return file.getvalue()


@settings(deadline=None)
@given(st.lists(MESSAGES, max_size=4))
def test_a_record_is_fastavros_record(messages: list[StoredMessage]) -> None:
    assert MessageRecords().records(messages) == [fastavros(one) for one in messages]


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_is_fastavros_integer(value: int) -> None:
    file = io.BytesIO()
    fastavro.schemaless_writer(file, "long", value)

    assert long(value) == file.getvalue()


@pytest.mark.parametrize("length", [0, 1, 63, 64, 8191, 8192, 2**21])
def test_data_of_every_length_comes_back(length: int) -> None:
    kept = [StoredMessage("s", "1-0", datetime.now(UTC), {}, b"x" * length)]

    data, _ = encode_batch(kept)

    assert list(decode_batch(data)) == kept


@pytest.mark.parametrize("codec", ["deflate", "zstandard", "null"])
def test_a_large_batch_is_cut_into_blocks_that_a_reader_can_hold(codec: Any) -> None:
    now = datetime(2026, 11, 21, 12, 0, 0, 1, UTC)
    kept = [
        StoredMessage(
            "s", f"{n}-0", now + timedelta(milliseconds=n), {"n": str(n % 7)}, bytes([n % 256]) * 999
        )
        for n in range(1000)
    ]

    data, _ = encode_batch(kept, codec)

    assert list(decode_batch(data)) == kept
    counts = [block.num_records for block in block_reader(io.BytesIO(data))]
    assert sum(counts) == 1000
    assert max(counts) * 1000 < 2 * BLOCK_BYTES


def test_a_batch_of_nothing_is_a_container_of_nothing() -> None:
    assert list(decode_batch(encode_batch([])[0])) == []


def test_half_a_surrogate_pair_is_never_written() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_batch([StoredMessage("s", "1-0", datetime.now(UTC), {"a": "\ud800"}, b"")])
