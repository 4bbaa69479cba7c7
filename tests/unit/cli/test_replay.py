"""What is replayed has the ids that it had, and only what was asked for."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidemill.replaying import Period, Selection, Stages, list_batches, list_foreign
from tidemill.where import Where
from tidemill_contracts.bus import Message
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.identified import identified
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.stored_batch import decode_batch
from tidemill_persistor.admission import admit
from tidemill_persistor.batching import Batch
from tidemill_persistor.handlers import store_batch

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MakeMessage = Callable[..., Message]


def ids(*messages: Message) -> list[str]:
    return [
        each.sample_id for message in messages for each in identified(from_message(message, SamplesReceived))
    ]


def choose(kept: Any, period: Period | None = None, *where: str) -> tuple[list[Message], Stages]:
    selection = Selection(kept.store, period or Period(), Where.parse(where), Stages())
    chosen = [each for name in list_batches(kept.store, "digits") for each in selection.choose(name)]
    return chosen, selection.stages


def test_a_replayed_message_is_the_message_that_was_kept(kept: Any, make_message: MakeMessage) -> None:
    messages = [make_message("7", "1", ident="a"), make_message("2", ident="b", colour="red")]
    kept.keep(messages)

    chosen, stages = choose(kept)

    assert chosen == messages
    assert (stages.message_count, stages.sample_count) == (2, 3)


def test_a_message_that_was_kept_twice_is_replayed_once(kept: Any, make_message: MakeMessage) -> None:
    message = make_message("7", ident="a")
    kept.keep([message])
    kept.keep([message], hour=1)

    chosen, stages = choose(kept)

    assert chosen == [message]
    assert stages.copy_count == 1


def test_a_label_cuts_messages_to_the_samples_that_have_it(kept: Any, make_message: MakeMessage) -> None:
    whole = make_message("7", "1", "7", ident="a")
    kept.keep([whole, make_message("2", ident="b")])

    [cut], stages = choose(kept, None, "label=7")

    assert ids(cut) == [ids(whole)[0], ids(whole)[2]]
    assert from_message(cut, SamplesReceived).count == 2
    assert cut.attributes["ce-id"] != whole.attributes["ce-id"]
    assert (stages.unlike_count, stages.sample_count) == (1, 2)


def test_a_bad_sample_among_others_is_not_replayed(kept: Any, make_message: MakeMessage) -> None:
    whole = make_message("7", "1", ident="a")
    body = json.loads(whole.data)
    body["samples"].insert(1, {"text": "no label"})
    body.pop("count", None)
    kept.keep([Message(json.dumps(body).encode(), whole.attributes)])

    [cut], stages = choose(kept)

    assert ids(cut) == ids(whole)
    assert stages.sample_count == 2


def test_a_message_of_wanted_samples_alone_is_not_changed(kept: Any, make_message: MakeMessage) -> None:
    message = make_message("7", "7", ident="a")
    kept.keep([message])

    assert choose(kept, None, "label=7")[0] == [message]


def test_two_values_of_one_name_are_either_and_two_names_are_both(make_message: MakeMessage) -> None:
    message = make_message("7", "8", "9", ident="a", colour="red")

    either, count = Where.parse(["label=7", "label=8", "colour=red"]).cut(message)
    none, _ = Where.parse(["label=7", "colour=blue"]).cut(message)

    assert (either is not None, count) == (True, 2)
    assert none is None


def test_a_condition_without_a_value_is_refused() -> None:
    with pytest.raises(InvalidInput, match="label=7"):
        Where.parse(["label"])


def test_times_bound_what_is_replayed(kept: Any, make_message: MakeMessage) -> None:
    for hour in range(3):
        kept.keep([make_message("7", ident=str(hour))], hour=hour)

    chosen, stages = choose(kept, Period(datetime(2026, 5, 4, 13), datetime(2026, 5, 4, 14)))  # noqa: DTZ001

    assert [message.attributes["ce-id"] for message in chosen] == ["1"]
    assert stages.outside_count == 2


def test_a_corrupt_object_is_counted_and_the_others_are_replayed(
    kept: Any, make_message: MakeMessage
) -> None:
    name = kept.keep([make_message("7", ident="a")])
    kept.keep([make_message("8", ident="b")], hour=1)
    kept.store.put(name, b"gone")

    chosen, stages = choose(kept)

    assert [message.attributes["ce-id"] for message in chosen] == ["b"]
    assert stages.unreadable_count == 1


NATIVE = (
    ("subscription_name", "string"),
    ("message_id", "string"),
    ("publish_time", {"type": "long", "logicalType": "timestamp-micros"}),
    ("attributes", {"type": "map", "values": "string"}),
    ("data", "bytes"),
)
PERSISTOR = (("ID", "string"), ("Data", "bytes"), ("Metadata", {"type": "map", "values": "string"}))


def avro(fields: Any, *values: Any) -> bytes:
    """A container with one record of the fields."""
    schema = {
        "type": "record",
        "name": "r",
        "fields": [{"name": name, "type": kind} for name, kind in fields],
    }
    file = io.BytesIO()
    record = dict(zip((name for name, _ in fields), values, strict=True))
    fastavro.writer(file, fastavro.parse_schema(schema), [record])
    return file.getvalue()


@pytest.mark.parametrize(
    "write",
    [
        lambda sent: avro(NATIVE, "projects/p/subscriptions/keep", "77", NOON, sent.attributes, sent.data),
        lambda sent: avro(PERSISTOR, "77", sent.data, sent.attributes),
    ],
    ids=["a Cloud Storage subscription", "Syntio's Persistor"],
)
def test_what_others_kept_is_kept_by_our_persistor_unchanged(
    kept: Any, make_message: MakeMessage, write: Callable[[Message], bytes]
) -> None:
    sent = make_message("7", "1", ident="a", colour="red")
    kept.store.put("old/2026-11-21T12:00:00+00:00_3f2c", write(sent))
    selection = Selection(kept.store, Period(), Where.parse(["dataset=digits"]), Stages())
    bus, store = MemoryBus(), MemoryStore()
    subscription = bus.subscribe("samples", "persistor")

    for name in list_foreign(kept.store, "old/"):
        bus.publish("samples", selection.choose(name))
    [delivery] = subscription.pull(10, 0)
    held = admit(delivery)
    batch = Batch(held.place, 0.0)
    batch.held[delivery.message_id] = held
    stored = store_batch(batch, store, bus)

    [found] = decode_batch(store.get(stored.object))
    assert found.message == sent
    assert (stored.dataset, stored.sample_count) == ("digits", 2)


def test_what_others_kept_is_replayed_if_it_is_of_the_dataset(kept: Any, make_message: MakeMessage) -> None:
    seven, other = make_message("7"), Message(make_message("8").data.replace(b'"digits"', b'"letters"'))
    kept.store.put("old/2026-11-21_3f2c", seven.data + b"\n" + other.data + b"\n")
    selection = Selection(kept.store, Period(), Where.parse(["dataset=digits"]), Stages())

    chosen = [each for name in list_foreign(kept.store, "old/") for each in selection.choose(name)]

    assert chosen == [seven]
    assert (selection.stages.message_count, selection.stages.unlike_count) == (2, 1)


@given(st.lists(st.sampled_from("0123456789"), min_size=1, max_size=12), st.sampled_from("0123456789"))
def test_cutting_never_changes_an_id_and_cutting_again_changes_nothing(labels: list[str], label: str) -> None:
    samples = ",".join(f'{{"label":"{each}","text":"same"}}' for each in labels)
    message = Message(f'{{"dataset":"digits","source":"s","samples":[{samples}]}}'.encode(), {"ce-id": "x"})
    where = Where.parse([f"label={label}"])
    wanted = [ident for ident, each in zip(ids(message), labels, strict=True) if each == label]

    cut, _ = where.cut(message)

    assert (ids(cut) if cut else []) == wanted
    if cut is not None:
        assert where.cut(cut) == (cut, len(wanted))
