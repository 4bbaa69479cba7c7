"""What a row of the registry costs: objects of 5,000 samples each, indexed as the trainer does it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from tidemill_registry import Registry, migrate
from tidemill_registry.batches import mark_indexed, see_objects
from tidemill_registry.records import ObjectCounts, SampleRow, StoredObject
from tidemill_registry.sample_rows import add_samples, known_ids, roles_of_contents

PER_OBJECT = 5_000
COUNTS = (10_000, 100_000)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{folder}/registry.db" if sqlite else request.getfixturevalue("postgres_url")
    migrate(url)
    opened = Registry.open(url)
    yield opened
    opened.close()


def index(registry: Registry, name: str, first: int) -> None:
    idents = [f"{first + n:032x}" for n in range(PER_OBJECT)]
    digests = [sha256(ident.encode()).hexdigest() for ident in idents]
    with registry.write() as sql:
        see_objects(sql, [StoredObject(name, "digits", "train")], now=NOW)
        known_ids(sql, "digits", idents)
        roles_of_contents(sql, "digits", digests)
        rows = [
            SampleRow(ident, name, 0, position, "7", "train", digest)
            for position, (ident, digest) in enumerate(zip(idents, digests, strict=True))
        ]
        add_samples(sql, "digits", rows, seen_at=NOW)
        mark_indexed(sql, name, sha256="0" * 64, counts=ObjectCounts(sample_count=PER_OBJECT), now=NOW)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", COUNTS)
def test_rows_by_the_second(registry: Registry, count: int) -> None:
    wall_s, cpu_s = time.perf_counter(), time.process_time()

    for first in range(0, count, PER_OBJECT):
        index(registry, f"object-{first}", first)

    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    print(f"\n{count:,} rows: {count / wall_s:,.0f} a second, {cpu_s / count * 1e6:.1f} µs of our CPU each")
    assert registry.sample_counts("digits").train == count
