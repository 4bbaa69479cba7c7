"""Transactions: all or nothing, isolated, and Unavailable when the database is locked or gone."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from tidemill_contracts.errors import Unavailable
from tidemill_registry import Registry, database, migrate
from tidemill_registry.batches import pending_objects, see_objects, unseen
from tidemill_registry.records import SampleRow, StoredObject
from tidemill_registry.sample_rows import add_samples
from tidemill_registry.tables import objects

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
BATCH = StoredObject("a", "digits", "train")


def test_a_transaction_that_raises_leaves_nothing(registry: Registry) -> None:
    def half_done() -> None:
        with registry.write() as sql:
            see_objects(sql, [BATCH], now=NOON)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_done()

    with registry.read() as sql:
        assert unseen(sql, ["a"]) == ["a"]


def test_readers_do_not_wait_for_a_writer(registry: Registry) -> None:
    with registry.write() as writer:
        see_objects(writer, [BATCH], now=NOON)

        with registry.read() as reader:
            assert unseen(reader, ["a"]) == ["a"]


def test_writers_take_turns(registry: Registry) -> None:
    def write(number: int) -> None:
        with registry.write() as sql:
            see_objects(sql, [StoredObject(f"{number}", "digits", "train")], now=NOON)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with registry.read() as sql:
        assert unseen(sql, map(str, range(9))) == ["8"]


def test_a_locked_database_is_unavailable(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(sqlite_url)
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    other = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(Unavailable, match="locked"), Registry.open(sqlite_url).write():
        pass

    other.close()


def test_a_locked_row_of_a_server_is_unavailable(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(postgres_url)
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    first, second = Registry.open(postgres_url), Registry.open(postgres_url)

    with first.write() as holder:
        holder.execute(text("LOCK TABLE objects"))
        with pytest.raises(Unavailable, match="lock timeout"), second.write() as waiter:
            see_objects(waiter, [BATCH], now=NOON)

    first.close()
    second.close()


def test_a_server_that_goes_away_is_unavailable_until_it_is_back(own_postgres_server: Any) -> None:
    url = own_postgres_server.make_database()
    migrate(url)
    registry = Registry.open(url)
    registry.ping()

    own_postgres_server.stop()
    with pytest.raises(Unavailable):
        registry.ping()
    own_postgres_server.start()

    registry.ping()
    registry.close()


def test_a_reader_sees_one_state_of_the_database(registry: Registry) -> None:
    with registry.read() as reader:
        assert unseen(reader, ["a"]) == ["a"]
        with registry.write() as writer:
            see_objects(writer, [BATCH], now=NOON)

        assert unseen(reader, ["a"]) == ["a"]


def test_text_sorts_by_code_points(registry: Registry) -> None:
    names = ["a", "B", "_", "ä", "b", "A"]

    with registry.write() as sql:
        see_objects(sql, [StoredObject(name, "digits", "train") for name in names], now=NOON)

    with registry.read() as sql:
        found = [each.name for each in pending_objects(sql, "digits", limit=9)]
    assert found == sorted(names)


def test_a_sample_of_an_unknown_object_is_refused(registry: Registry) -> None:
    orphan = SampleRow("x", "missing", 0, 0, "7", "train", "0" * 64)

    with pytest.raises(IntegrityError), registry.write() as sql:
        add_samples(sql, "digits", [orphan], seen_at=NOON)


def test_times_keep_their_instant(registry: Registry) -> None:
    with registry.write() as sql:
        see_objects(sql, [BATCH], now=datetime.fromisoformat("2026-01-02T13:00:00+01:00"))

    with registry.read() as sql:
        assert sql.scalar(select(objects.c.seen_at)) == NOON
        raw = sql.scalar(text("SELECT seen_at FROM objects"))
    assert raw in ("2026-01-02 12:00:00.000000", NOON)
