"""Published versions and how they did on the test samples."""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy import Connection, func, select

from tidemill_registry.records import TestRun, VersionRecord
from tidemill_registry.statements import insert_or_ignore
from tidemill_registry.tables import rounds, test_runs, versions

_VERSION = tuple(versions.c[field.name] for field in fields(VersionRecord))
_TEST_RUN = tuple(test_runs.c[field.name] for field in fields(TestRun))


def last_version(sql: Connection, model: str) -> int:
    """The highest version that was ever published or reserved for publication; 0 if none was."""
    published = sql.scalar(select(func.max(versions.c.version)).where(versions.c.model == model))
    reserved = sql.scalar(select(func.max(rounds.c.challenger_version)).where(rounds.c.model == model))
    return max(published or 0, reserved or 0)


def add_version(sql: Connection, version: VersionRecord) -> None:
    """Note a published version; again the same changes nothing."""
    insert_or_ignore(sql, versions, [vars(version)])


def list_versions(sql: Connection, model: str) -> list[VersionRecord]:
    """The model's published versions, the first one first."""
    query = select(*_VERSION).where(versions.c.model == model).order_by(versions.c.version)
    return [VersionRecord(*row) for row in sql.execute(query)]


def add_test_run(sql: Connection, run: TestRun) -> None:
    sql.execute(test_runs.insert(), vars(run))


def list_test_runs(sql: Connection, model: str) -> list[TestRun]:
    """The model's test runs, the first one first."""
    query = select(*_TEST_RUN).where(test_runs.c.model == model).order_by(test_runs.c.id)
    return [TestRun(*row) for row in sql.execute(query)]


def last_test_run(sql: Connection, model: str) -> TestRun | None:
    query = select(*_TEST_RUN).where(test_runs.c.model == model).order_by(test_runs.c.id.desc())
    row = sql.execute(query).first()
    return None if row is None else TestRun(*row)
