"""An object in quarantine gives nothing; copies of its samples can take their place, on every database."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from tidemill_contracts.errors import InvalidInput
from tidemill_registry import Registry
from tidemill_registry.batches import mark_indexed, pending_objects, quarantine
from tidemill_registry.database import Database
from tidemill_registry.pools import waiting
from tidemill_registry.records import ObjectCounts, SampleRow
from tidemill_registry.sample_rows import ids_in_object, move_samples, spoilt_samples
from tidemill_registry.tables import objects, samples

from tests.contract.registry.conftest import NOON


def mark(registry: Registry, name: str, *, sample_count: int, duplicate_count: int = 0) -> None:
    counts = ObjectCounts(sample_count=sample_count, duplicate_count=duplicate_count)
    with registry.write() as sql:
        mark_indexed(sql, name, sha256="0" * 64, counts=counts, now=NOON)


def test_moved_samples_are_back_and_are_counted_where_they_lie(registry: Registry, add: Any) -> None:
    spoilt, sound = add(3, name="a"), add(1, name="b")
    mark(registry, "a", sample_count=3)
    mark(registry, "b", sample_count=1)
    with registry.write() as sql:
        quarantine(sql, "a", "a bit is turned")
        gone = waiting(sql, "digits", "digits", ["0"]).count
        known = spoilt_samples(sql, "digits", [*spoilt, *sound, "unknown"])
        rows = [
            SampleRow(ident, "b", 1, place, "9", "test", known[ident]) for place, ident in enumerate(spoilt)
        ]
        move_samples(sql, "digits", rows[:2])

    with registry.read() as sql:
        found = sql.execute(select(samples).where(samples.c.sample_id == spoilt[1])).mappings().one()
        counted = dict(sql.execute(select(objects.c.name, objects.c.sample_count)).all())
        assert waiting(sql, "digits", "digits", ["0"]).count == gone + 2 == 3
        assert ids_in_object(sql, "digits", [*spoilt, *sound], "b") == {*spoilt[:2], *sound}
        assert spoilt_samples(sql, "digits", spoilt).keys() == {spoilt[2]}
    assert (found["object"], found["message_position"], found["sample_position"]) == ("b", 1, 1)
    assert (found["label"], found["role"]) == ("0", "train"), "what is decided for ever was changed"
    assert counted["a"] == 1


def test_a_quarantine_lets_sound_objects_with_copies_be_read_once_more(registry: Registry, add: Any) -> None:
    for name in ("a", "copies", "alone", "spoilt-too"):
        add(1, name=name)
        mark(registry, name, sample_count=1, duplicate_count=0 if name == "alone" else 2)
    with registry.write() as sql:
        quarantine(sql, "spoilt-too", "cut")
        mark_indexed(sql, "copies", sha256="0" * 64, counts=ObjectCounts(duplicate_count=2), now=NOON)
        mark_indexed(sql, "a", sha256="0" * 64, counts=ObjectCounts(duplicate_count=2), now=NOON)
        assert pending_objects(sql, "digits", limit=9) == []

        quarantine(sql, "a", "a bit is turned")

        assert [each.name for each in pending_objects(sql, "digits", limit=9)] == ["copies"]


def test_a_wait_for_a_lock_is_as_long_as_the_address_says(tmp_path: Any) -> None:
    with pytest.raises(InvalidInput, match="soon"):
        Database.open(f"sqlite:///{tmp_path}/registry.db?timeout=soon")

    database = Database.open(f"sqlite:///{tmp_path}/registry.db?timeout=2.5")
    with database.read() as sql:
        assert sql.exec_driver_sql("PRAGMA busy_timeout").scalar() == 2500
    database.close()
