"""Brings a database to the tables that this version of the code knows."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from tidemill_registry.database import Database, make_folder

_SCRIPTS = Path(__file__).parent / "migrations"
_LOCK_KEY = 7_245_001
"""PostgreSQL advisory lock under which migrations run; any number that nobody else uses."""


def migrate(url: str, *, revision: str = "head") -> None:
    """Apply what is missing. Idempotent, and safe when several processes start at once: one waits.

    Raises:
        Unavailable: the database does not answer; try again.
        InvalidInput: the URL is wrong.
    """
    _run(url, revision, upward=True)


def is_migrated(url: str) -> bool:
    """Whether every table is as this version of the code knows it; raises as `migrate` does."""
    database = Database.open(url)
    make_folder(url)
    try:
        with database.read() as connection:
            applied = MigrationContext.configure(connection).get_current_revision()
            return applied == ScriptDirectory.from_config(_config(connection)).get_current_head()
    finally:
        database.close()


def migrate_down(url: str, *, revision: str = "base") -> None:
    """Undo migrations down to `revision`, with the data they hold; raises as `migrate` does."""
    _run(url, revision, upward=False)


def _run(url: str, revision: str, *, upward: bool) -> None:
    database = Database.open(url)
    make_folder(url)
    try:
        # SQLite's write transaction keeps a second process out until the first has committed.
        with database.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
            step = command.upgrade if upward else command.downgrade
            step(_config(connection), revision)
    finally:
        database.close()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
