"""Indexing: every usable sample once, whatever lies beside it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from sqlalchemy import select, update
from tidemill_contracts.bus import Message
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.samples import Sample, sample_id
from tidemill_registry.batches import quarantine
from tidemill_registry.records import SampleCounts
from tidemill_registry.refused_rows import refusals_of
from tidemill_registry.tables import objects, refused_samples, samples
from tidemill_trainer.datasets import datasets_of
from tidemill_trainer.handlers import reconcile
from tidemill_trainer.indexing import index_pending

# As google.pubsub.v1 CloudStorageConfig.AvroConfig describes the output with `write_metadata`.
NATIVE = {
    "type": "record",
    "name": "PubsubMessage",
    "fields": [
        {"name": "subscription_name", "type": "string"},
        {"name": "message_id", "type": "string"},
        {"name": "publish_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "attributes", "type": {"type": "map", "values": "string"}},
        {"name": "data", "type": "bytes"},
    ],
}
Points = Callable[..., list[Sample]]


def index(world: Any) -> int:
    reconcile(registry=world.registry, store=world.store, now=world.now)
    dataset = datasets_of([world.learner])["points"]
    return index_pending(dataset, registry=world.registry, store=world.store, limit=99, now=world.now)


def counts(world: Any) -> list[tuple[int, int, int, int]]:
    """Of every object: new, duplicate, invalid and leaked samples."""
    columns = [objects.c[f"{name}_count"] for name in ("sample", "duplicate", "invalid", "leaked")]
    with world.registry.read() as sql:
        return [tuple(row) for row in sql.execute(select(*columns).order_by(objects.c.seen_at))]


def faults(world: Any) -> list[str | None]:
    with world.registry.read() as sql:
        return list(sql.scalars(select(objects.c.fault)))


def total(found: SampleCounts) -> int:
    return found.train + found.validation + found.test


def test_the_same_samples_in_two_batches_count_once(world: Any, points: Points) -> None:
    world.put(points(10))
    index(world)
    world.pass_time(1)
    world.put([*points(10), *points(3, seed=9)])

    index(world)

    assert counts(world) == [(10, 0, 0, 0), (3, 10, 0, 0)]
    assert total(world.registry.sample_counts("points")) == 13


def test_indexing_again_changes_nothing(world: Any, points: Points) -> None:
    world.put(points(10))
    index(world)

    assert index(world) == 0
    assert counts(world) == [(10, 0, 0, 0)]


def test_a_sample_without_an_id_gets_one_of_content_source_and_occurrence(world: Any) -> None:
    same = Sample(label="left", row={"x": 1.0, "y": 2.0})
    world.put([same, same], source="book")

    index(world)

    with world.registry.read() as sql:
        ids = set(sql.scalars(select(samples.c.sample_id)))
    assert ids == {sample_id(same.content(), "book", occurrence) for occurrence in (0, 1)}


def test_the_same_content_under_two_ids_never_both_trains_and_validates(world: Any) -> None:
    twins = [Sample(id=f"twin-{number}", label="left", row={"x": 1.0, "y": 2.0}) for number in range(20)]
    world.put(twins[:1])
    index(world)
    world.put(twins[1:])

    index(world)

    found = world.registry.sample_counts("points")
    assert sorted((found.train, found.validation)) == [0, 20]


@pytest.mark.parametrize(("first", "second"), [("test", "train"), ("train", "test")])
def test_content_known_across_the_test_line_never_enters(
    world: Any, points: Points, first: str, second: str
) -> None:
    world.put(points(5), first)
    index(world)
    world.pass_time(1)
    renamed = [sample.model_copy(update={"id": f"again-{n}"}) for n, sample in enumerate(points(5))]
    world.put([*renamed, *points(2, seed=5)], second)

    index(world)

    assert counts(world) == [(5, 0, 0, 0), (2, 0, 0, 5)]


def test_a_first_arrival_decides_the_split_of_an_id_for_ever(world: Any, points: Points) -> None:
    world.put(points(5), "test")
    index(world)
    world.put(points(5), "train")

    index(world)

    assert world.registry.sample_counts("points") == SampleCounts(test=5)


def lie_in(world: Any) -> set[str]:
    """The objects in which the registry finds samples."""
    with world.registry.read() as sql:
        return set(sql.scalars(select(samples.c.object)))


def test_a_copy_takes_the_place_of_a_sample_whose_object_is_spoilt(world: Any, points: Points) -> None:
    first = world.put(points(10))
    index(world)
    roles = world.registry.sample_counts("points")
    with world.registry.write() as sql:
        quarantine(sql, first, "a bit is turned")
    world.pass_time(1)
    second = world.put([*points(10), *points(2, seed=9)])

    index(world)

    assert lie_in(world) == {second}
    assert counts(world) == [(0, 0, 0, 0), (12, 0, 0, 0)]
    assert total(world.registry.sample_counts("points")) == total(roles) + 2


def test_a_copy_that_came_before_the_damage_was_found_is_read_once_more(world: Any, points: Points) -> None:
    first = world.put(points(10))
    index(world)
    world.pass_time(1)
    second = world.put([*points(10), *points(3, seed=9)])
    index(world)
    before = rows_of(world)
    with world.registry.write() as sql:
        quarantine(sql, first, "a bit is turned")

    assert index(world) == 1

    assert lie_in(world) == {second}
    assert counts(world) == [(0, 0, 0, 0), (13, 0, 0, 0)]
    assert rows_of(world) == before
    assert index(world) == 0


def test_two_trainers_that_read_the_same_object_count_its_samples_once(world: Any, points: Points) -> None:
    world.put(points(10))
    index(world)
    with world.registry.write() as sql:  # as it was when the second trainer looked
        sql.execute(update(objects).values(indexed_at=None, sha256=None, sample_count=0))

    index(world)

    assert counts(world) == [(10, 0, 0, 0)]


def test_another_content_under_the_same_id_takes_no_place(world: Any, points: Points) -> None:
    [sample] = points(1)
    first = world.put([sample.model_copy(update={"id": "mine"})])
    index(world)
    with world.registry.write() as sql:
        quarantine(sql, first, "a bit is turned")
    world.pass_time(1)
    world.put([points(1, seed=9)[0].model_copy(update={"id": "mine"})])

    index(world)

    assert lie_in(world) == {first}


def rows_of(world: Any) -> set[tuple[str, str, str]]:
    """What is decided for ever of every sample: its id, label and role."""
    with world.registry.read() as sql:
        return {
            tuple(row) for row in sql.execute(select(samples.c.sample_id, samples.c.label, samples.c.role))
        }


def test_invalid_messages_and_samples_do_not_block_their_neighbours(world: Any, points: Points) -> None:
    good = [sample.model_dump(exclude_none=True) for sample in points(3)]
    unknown = {"label": "up", "row": {"x": 0, "y": 0}}
    unreadable = {"label": "left", "row": {"z": 0}}
    bodies = [
        b"not JSON",
        json.dumps({"dataset": "points", "samples": []}).encode(),
        json.dumps({"dataset": "elsewhere", "samples": good}).encode(),
        json.dumps({"dataset": "points", "split": "test", "samples": good}).encode(),
        json.dumps({"dataset": "points", "samples": [*good[:2], unknown, unreadable, good[2]]}).encode(),
    ]
    world.put_messages([Message(body) for body in bodies])

    index(world)

    assert counts(world) == [(3, 0, 6, 0)]


def test_samples_of_another_shape_are_left_out_one_by_one(world: Any, points: Points) -> None:
    good = [sample.model_dump(exclude_none=True) for sample in points(60)]
    odd = [{"row": {"x": 0, "y": 0}}, {"label": "left", "row": {"x": 0, "y": 0}, "weight": 3}]
    body = {"dataset": "points", "samples": [odd[0], *good[:1], odd[1], *good[1:]]}
    world.put_messages([Message(json.dumps(body).encode())])

    index(world)

    assert counts(world) == [(60, 0, 2, 0)]
    with world.registry.read() as sql:
        places = set(sql.scalars(select(samples.c.sample_position)))
        told = sql.execute(select(refused_samples.c.sample_position, refused_samples.c.reason)).all()
    assert places == {1, *range(3, 62)}
    assert sorted(told) == [
        (0, "samples[0].label: Field required"),
        (2, "samples[2].weight: Extra inputs are not permitted"),
    ]
    world.start().advance()
    [round_] = world.registry.rounds("points")
    assert round_.status == "promoted", round_.reason


def test_what_a_cloud_storage_subscription_wrote_in_our_place_is_indexed_as_ours(
    world: Any, points: Points
) -> None:
    """Its names come of the prefix ``samples/points/train/`` and the format ``YYYY/MM/DD/hh/mm_ss``."""
    bodies = [world.message(points(10)).data, world.message(points(3, seed=9)).data]
    records = [
        {
            "subscription_name": "projects/p/subscriptions/keep",
            "message_id": str(number),
            "publish_time": datetime(2026, 1, 2, 12, tzinfo=UTC),
            "attributes": {},
            "data": body,
        }
        for number, body in enumerate(bodies)
    ]
    file = io.BytesIO()
    fastavro.writer(file, fastavro.parse_schema(NATIVE), records, codec="deflate")
    name = "samples/points/train/2026/01/02/12/30_15_3f2c4a1e-77aa-4d1c-9b41-6f1d7a2f0c11.avro"
    world.store.put(name, file.getvalue())

    index(world)

    assert counts(world) == [(13, 0, 0, 0)]
    assert lie_in(world) == {name}


def test_what_is_used_by_nobody_is_told_by_id_with_the_reason(world: Any, points: Points) -> None:
    first = points(1)[0].model_copy(update={"id": "first"})
    world.put([first], "test")
    index(world)
    twin, unknown, odd = (
        first.model_copy(update={"id": "twin"}),
        first.model_copy(update={"id": "unknown", "label": "up"}),
        Sample(id="odd", label="left", row={"x": float("nan"), "y": 10**400}),
    )
    world.put([twin, unknown, odd, *points(3, seed=4)])

    index(world)

    with world.registry.read() as sql:
        told = refusals_of(sql, "points", ["first", "twin", "unknown", "odd"])
    assert told["twin"] == "its content is known as test"
    assert told["unknown"] == "unknown label 'up'"
    assert faults(world) == [None, None]


def test_an_object_that_is_no_container_is_put_aside_and_its_neighbours_are_indexed(
    world: Any, points: Points
) -> None:
    broken = world.put(points(5))
    world.store.put(broken, b"Obj\x01 and then nothing")
    world.put(points(5, seed=2))

    index(world)

    assert total(world.registry.sample_counts("points")) == 5
    assert sorted(fault is None for fault in faults(world)) == [False, True]


def test_an_object_whose_content_is_not_what_its_name_says_is_put_aside(world: Any, points: Points) -> None:
    name, other = world.put(points(5)), world.put(points(5, seed=2))
    world.store.put(name, world.store.get(other))
    world.store.delete(other)

    index(world)

    assert total(world.registry.sample_counts("points")) == 0
    assert any("not what its name says" in (fault or "") for fault in faults(world))


def test_nothing_is_marked_as_indexed_while_the_store_is_down(world: Any, points: Points) -> None:
    world.put(points(5))
    reconcile(registry=world.registry, store=world.store, now=world.now)
    dataset = datasets_of([world.learner])["points"]
    world.store.failing = True

    with pytest.raises(Unavailable):
        index_pending(dataset, registry=world.registry, store=world.store, limit=9, now=world.now)

    world.store.failing = False
    assert index(world) == 1
