"""SQL helpers that SQLite and PostgreSQL share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

PARAMETERS_MAX = 5_000
"""Values in one IN list; SQLite takes 32,766 parameters in a statement, PostgreSQL 65,535."""

T = TypeVar("T")


def insert_or_ignore(sql: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose primary key is not there yet."""
    if not rows:
        return
    if sql.dialect.name == "postgresql":
        sql.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)
    else:
        sql.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)


def in_chunks(values: Iterable[T], size: int = PARAMETERS_MAX) -> Iterator[list[T]]:
    """The values in lists short enough for one statement."""
    remaining = iter(values)
    while chunk := list(islice(remaining, size)):
        yield chunk
