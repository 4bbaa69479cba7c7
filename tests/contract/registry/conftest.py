"""A migrated registry in a folder of its own, and rows to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tidemill_registry import Registry, migrate
from tidemill_registry.batches import see_objects
from tidemill_registry.records import Role, RoundKind, RoundRecord, SampleRow, StoredObject
from tidemill_registry.sample_rows import add_samples

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
AddSamples = Callable[..., list[str]]
MakeRound = Callable[..., RoundRecord]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of either kind."""
    fixture = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(fixture))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/registry.db"


@pytest.fixture
def make_registry() -> Iterator[Callable[[str], Registry]]:
    """Migrates and opens the database of a URL."""
    opened: list[Registry] = []

    def make(url: str) -> Registry:
        migrate(url)
        opened.append(Registry.open(url))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def registry(url: str, make_registry: Callable[[str], Registry]) -> Registry:
    return make_registry(url)


@pytest.fixture
def add(registry: Registry) -> AddSamples:
    """Adds samples of one label and role to an object; returns their ids."""

    def add_them(
        count: int, *, role: Role = "train", label: str = "0", name: str = "a", seen_at: datetime = NOON
    ) -> list[str]:
        rows = [
            SampleRow(
                sample_id=f"{name}-{role}-{label}-{position:04d}",
                object=name,
                message_position=0,
                sample_position=position,
                label=label,
                role=role,
                digest=f"{name}{role}{label}{position:04d}".ljust(64, "0"),
            )
            for position in range(count)
        ]
        with registry.write() as sql:
            see_objects(sql, [StoredObject(name, "digits", "train")], now=seen_at)
            add_samples(sql, "digits", rows, seen_at=seen_at)
        return [row.sample_id for row in rows]

    return add_them


@pytest.fixture
def make_round() -> MakeRound:
    def make(number: int = 1, kind: RoundKind = "new") -> RoundRecord:
        return RoundRecord(
            id=f"digits-{number}",
            model="digits",
            number=number,
            kind=kind,
            status="open",
            phase="opened",
            epoch=0,
            epochs_max=10,
            starts=0,
            seed=number,
            opened_at=NOON,
            train_count=0,
            rehearsal_count=0,
            validation_count=0,
        )

    return make
