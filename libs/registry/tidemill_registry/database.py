"""Opens the database; reads and writes are transactions, and a silent database is `Unavailable`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from tidemill_contracts.errors import Corrupt, InvalidInput, Unavailable

BUSY_TIMEOUT_S = 15.0
"""How long a writer waits for another one. In SQLite's address ``?timeout=2`` says otherwise."""
CONNECT_TIMEOUT_S = 5
_WRITES = "tidemill_writes"
_NO_SUCH_TABLE = "42P01"
"""PostgreSQL's state for it: nobody has migrated the database yet."""


class Database:
    """One engine with its two kinds of transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(**{_WRITES: True})
        self._reader = engine
        if engine.dialect.name == "postgresql":  # SQLite's readers see one state anyway
            one_state = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            self._reader = engine.execution_options(**one_state)

    @classmethod
    def open(cls, url: str) -> Database:
        """The database at ``sqlite:////data/registry.db`` or ``postgresql+psycopg://USER@HOST/DATABASE``.

        Nothing is connected yet.

        Raises:
            InvalidInput: the URL is wrong or its driver is not installed.
        """
        try:
            pre_ping = not url.startswith("sqlite")
            engine = create_engine(url, pool_pre_ping=pre_ping, connect_args=_connect_args(url))
        except (ArgumentError, ImportError, ValueError) as error:  # ValueError: a timeout that is no number
            raise InvalidInput(f"not a database URL that works here: {error}") from error
        if engine.dialect.name == "sqlite":
            _prepare_sqlite(engine)
        return cls(engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database.

        Raises:
            Unavailable: the database does not answer; try again.
        """
        with _unavailable_when_down(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that takes effect whole, or not at all when the block raises.

        Raises:
            Unavailable: the database does not answer; try again.
            Corrupt: a value is none that its column can hold.
        """
        with _unavailable_when_down(), self._writer.begin() as connection:
            yield connection

    def ping(self) -> None:
        """Return if the database answers and has its tables; raises as `read` does."""
        with self.read() as sql:
            sql.execute(text("SELECT 1 FROM rounds LIMIT 1"))

    def close(self) -> None:
        self._engine.dispose()


def make_folder(url: str) -> None:
    """Make the folder that a SQLite file will lie in.

    Raises:
        Unavailable: it cannot be made.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        try:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot make the folder of {parsed.database}: {error.strerror}") from error


def _connect_args(url: str) -> dict[str, Any]:
    """What the driver is told at every connection, so that no wait is without a limit."""
    if not url.startswith("postgresql"):
        return {}
    lock_timeout = f"-c lock_timeout={int(BUSY_TIMEOUT_S * 1000)}"
    return {"connect_timeout": CONNECT_TIMEOUT_S, "options": lock_timeout}


def _prepare_sqlite(engine: Engine) -> None:
    """Transactions as SQL means them, readers beside one writer, foreign keys enforced."""
    busy_ms = int(_busy_timeout_s(engine) * 1000)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would come too late and too weak
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {busy_ms}")
        cursor.execute("PRAGMA foreign_keys = ON")
        # Only the first connection ever changes the mode, which needs the file for itself alone.
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer that began as a reader fails, without waiting, if somebody else wrote in between.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _busy_timeout_s(engine: Engine) -> float:
    return float(str(engine.url.query.get("timeout", BUSY_TIMEOUT_S)))


@contextmanager
def _unavailable_when_down() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise Unavailable(f"the database does not answer: {_cause(error)}") from error
    except DataError as error:
        raise Corrupt(f"the database cannot hold this: {_cause(error)}") from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", "") == _NO_SUCH_TABLE:
            raise Unavailable(f"the database has no tables yet: {_cause(error)}") from error
        if error.connection_invalidated:
            raise Unavailable(f"the database went away: {_cause(error)}") from error
        raise


def _cause(error: Exception) -> str:
    """The driver's own words, without the statement and its parameters."""
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]
