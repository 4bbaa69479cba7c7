"""The batch object: the same input gives the same bytes, and bad bytes are found."""

from __future__ import annotations

from datetime import UTC, datetime

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidemill_contracts.errors import Corrupt
from tidemill_contracts.stored_batch import (
    CODECS,
    Codec,
    StoredMessage,
    content_digest,
    decode_batch,
    encode_batch,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def message(data: bytes, ident: str = "1-0", **attributes: str) -> StoredMessage:
    return StoredMessage("persistor", ident, NOON, attributes, data)


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=50), st.text(max_size=10)), max_size=5))
def test_messages_come_back_as_they_were(contents: list[tuple[bytes, str]]) -> None:
    messages = [message(data, ident, key=ident) for data, ident in contents if ident.isprintable()]

    data, _ = encode_batch(messages)

    assert list(decode_batch(data)) == messages


def test_the_same_messages_make_the_same_bytes_and_digest() -> None:
    first = encode_batch([message(b"x", a="1", b="2")])
    second = encode_batch([message(b"x", b="2", a="1")])

    assert first == second


def test_other_messages_have_another_digest() -> None:
    digests = {
        encode_batch(messages)[1]
        for messages in (
            [message(b"x")],
            [message(b"y")],
            [message(b"x", "2-0")],
            [message(b"x", a="1")],
            [message(b"x"), message(b"x")],
            [],
        )
    }

    assert len(digests) == 6


def test_an_object_has_the_name_that_it_always_had() -> None:
    """The digest names every object in every store: it must never change."""
    kept = [message(b"\x00\xff", "1-0", key="v", other="ä\n"), message(b"", "2-0")]

    assert content_digest(kept) == "fea4a281b6de9e09b456d70e70ff2b3c4b6c5cd0a5fdcbe227f7f80c006e102e"


@pytest.mark.parametrize("codec", CODECS)
def test_the_codec_has_no_part_in_the_digest_and_every_codec_is_read(codec: Codec) -> None:
    kept = [message(b"content " * 50, str(n), key="v") for n in range(20)]

    data, digest = encode_batch(kept, codec)

    assert digest == encode_batch(kept)[1]
    assert list(decode_batch(data)) == kept


def test_any_avro_reader_reads_the_fields_of_cloud_storage_subscriptions() -> None:
    import io

    data, _ = encode_batch([message(b"x", k="v")])

    [record] = fastavro.reader(io.BytesIO(data))

    assert record == {
        "subscription_name": "persistor",
        "message_id": "1-0",
        "publish_time": NOON,
        "attributes": {"k": "v"},
        "data": b"x",
    }


def test_a_cut_or_changed_object_is_corrupt() -> None:
    data, _ = encode_batch([message(b"some content " * 50)])

    for bad in (b"", b"not avro", data[: len(data) // 2], data[:-3]):
        with pytest.raises(Corrupt):
            list(decode_batch(bad))
