"""Migrations: complete, repeatable, reversible, safe beside another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from tidemill_contracts.errors import InvalidInput, Unavailable
from tidemill_registry import Registry, migrate
from tidemill_registry.migration import is_migrated, migrate_down
from tidemill_registry.tables import metadata


def test_migrations_make_exactly_the_tables_that_the_code_knows(url: str) -> None:
    migrate(url)

    with Registry.open(url).write() as sql:
        difference = compare_metadata(MigrationContext.configure(sql), metadata)
    assert difference == []


def test_a_database_tells_whether_it_is_migrated(url: str) -> None:
    assert not is_migrated(url)

    migrate(url)

    assert is_migrated(url)


def test_migrating_twice_changes_nothing(url: str, registry: Registry) -> None:
    migrate(url)

    registry.ping()


def test_a_migration_can_be_undone_and_done_again(url: str) -> None:
    migrate(url)

    migrate_down(url)

    with Registry.open(url).read() as sql:
        assert inspect(sql).get_table_names() == ["alembic_version"]
    migrate(url)
    Registry.open(url).ping()


def test_processes_that_start_at_once_migrate_once(url: str) -> None:
    command = [sys.executable, "-c", f"from tidemill_registry import migrate; migrate({url!r})"]

    started = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]

    assert [(process.communicate()[1], process.returncode) for process in started] == [(b"", 0)] * 4
    Registry.open(url).ping()


def test_a_registry_without_tables_is_unavailable(url: str) -> None:
    with pytest.raises(Unavailable, match=r"no such table|no tables yet"):
        Registry.open(url).rounds("digits")


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(Unavailable, match="cannot"):
        migrate(f"sqlite:///{tmp_path}/file/registry.db")


@pytest.mark.parametrize("url", ["nonsense", "nodriver://host/base"])
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="not a database URL"):
        Registry.open(url)
