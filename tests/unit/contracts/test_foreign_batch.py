"""What others kept is read as if we had kept it."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import Corrupt, InvalidInput
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.foreign_batch import Origin, read_foreign, read_single
from tidemill_contracts.stored_batch import StoredMessage, encode_batch

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ORIGIN = Origin("old/2026-11-21T12:00:00+00:00_3f2c4a", NOON)
BODY = b'{"dataset":"digits","samples":[{"label":"7","text":"seven"}]}'

# As google.pubsub.v1 CloudStorageConfig.AvroConfig describes the output with `write_metadata`: fields of
# their own for subscription name, message id and publish time, all else but the data in the attributes.
WITH_METADATA = {
    "type": "record",
    "name": "PubsubMessage",
    "fields": [
        {"name": "subscription_name", "type": "string"},
        {"name": "message_id", "type": "string"},
        {"name": "publish_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "attributes", "type": {"type": "map", "values": "string"}},
        {"name": "data", "type": ["null", "bytes"], "default": None},
    ],
}
PAYLOAD_ALONE = {"type": "record", "name": "PubsubMessage", "fields": [{"name": "data", "type": "bytes"}]}
# As dataphos/persistor declares it.
DATAPHOS = {
    "type": "record",
    "name": "persistorrecord",
    "namespace": "com.syntio.dataphos",
    "fields": [
        {"name": "ID", "type": "string"},
        {"name": "Data", "type": "bytes"},
        {"name": "Metadata", "type": {"type": "map", "values": "string"}},
    ],
}


def avro(schema: dict[str, Any], *records: dict[str, Any], codec: str = "null") -> bytes:
    buffer = io.BytesIO()
    fastavro.writer(buffer, fastavro.parse_schema(schema), records, codec=codec)
    return buffer.getvalue()


def test_a_cloud_storage_subscription_with_metadata_loses_nothing() -> None:
    record = {
        "subscription_name": "projects/p/subscriptions/keep",
        "message_id": "11223344",
        "publish_time": NOON,
        "attributes": {"ce-id": "a", "ordering_key": "k"},
        "data": BODY,
    }

    [message] = read_foreign(avro(WITH_METADATA, record, codec="deflate"), ORIGIN)

    assert message == StoredMessage(
        "projects/p/subscriptions/keep", "11223344", NOON, {"ce-id": "a", "ordering_key": "k"}, BODY
    )
    assert from_message(message.message, SamplesReceived).event_id == "a"


def test_a_subscription_without_metadata_gives_payloads_with_ids_from_their_place() -> None:
    first, second = read_foreign(avro(PAYLOAD_ALONE, {"data": BODY}, {"data": b"{}"}), ORIGIN)

    assert (first.data, second.data) == (BODY, b"{}")
    assert (first.message_id, second.message_id) == (f"{ORIGIN.name}#0", f"{ORIGIN.name}#1")
    assert (first.publish_time, first.attributes) == (NOON, {})


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_subscription_in_text_gives_a_message_to_a_line(end: bytes) -> None:
    text = BODY + b"\n\n" + b'{"b":"\xc3\xa4"}' + end

    messages = list(read_foreign(text, ORIGIN))

    assert [message.data for message in messages] == [BODY, b'{"b":"\xc3\xa4"}']
    assert [message.message_id for message in messages] == [f"{ORIGIN.name}#0", f"{ORIGIN.name}#1"]


def test_syntios_persistor_gives_ids_attributes_and_the_time_that_it_was_told() -> None:
    told = {"publish_time": "2026-11-20 08:30:00.25", "key": "v"}
    data = avro(
        DATAPHOS, {"ID": "77", "Data": BODY, "Metadata": told}, {"ID": "", "Data": b"{}", "Metadata": {}}
    )

    first, second = read_foreign(data, ORIGIN)

    assert first == StoredMessage("", "77", datetime(2026, 11, 20, 8, 30, 0, 250_000, UTC), told, BODY)
    assert (second.message_id, second.publish_time) == (f"{ORIGIN.name}#1", NOON)


def test_a_single_message_of_syntios_persistor_is_its_payload() -> None:
    message = read_single(b"\x89PNG\nwhatever", ORIGIN)

    assert (message.data, message.message_id) == (b"\x89PNG\nwhatever", f"{ORIGIN.name}#0")


def test_our_own_batches_are_read_as_they_are() -> None:
    ours = StoredMessage("persistor", "1-0", NOON, {"a": "b"}, BODY)
    data, _ = encode_batch([ours])

    assert list(read_foreign(data, ORIGIN)) == [ours]


def test_reading_an_object_twice_gives_the_same_messages() -> None:
    data = avro(PAYLOAD_ALONE, {"data": BODY}, {"data": BODY})

    assert list(read_foreign(data, ORIGIN)) == list(read_foreign(data, ORIGIN))


def test_a_cut_container_is_corrupt() -> None:
    data = avro(PAYLOAD_ALONE, {"data": BODY * 20})

    for bad in (data[:4], data[: len(data) // 2], data[:-3]):
        with pytest.raises(Corrupt):
            list(read_foreign(bad, ORIGIN))


def test_records_that_are_no_messages_are_refused_with_the_remedy() -> None:
    schema = {"type": "record", "name": "order", "fields": [{"name": "price", "type": "int"}]}

    with pytest.raises(InvalidInput, match="use_topic_schema"):
        list(read_foreign(avro(schema, {"price": 3}), ORIGIN))
