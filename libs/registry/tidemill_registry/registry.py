"""The registry as its readers see it, and the transactions in which its writer works."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Self

from sqlalchemy import Connection

from tidemill_registry.database import Database
from tidemill_registry.pools import count_pools
from tidemill_registry.records import PoolCounts, RoundRecord, SampleCounts, TestRun, VersionRecord
from tidemill_registry.round_rows import list_rounds, unfinished_round
from tidemill_registry.sample_rows import count_samples
from tidemill_registry.version_rows import list_test_runs, list_versions


class Registry:
    """Every method raises Unavailable while the database does not answer or has no tables yet."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str) -> Self:
        """The registry at a database URL. Its writer calls `migrate(url)` first.

        Raises:
            InvalidInput: the URL is wrong.
        """
        return cls(Database.open(url))

    def rounds(self, model: str) -> list[RoundRecord]:
        """The model's rounds, the first one first; the last one may still run."""
        with self.read() as sql:
            return list_rounds(sql, model)

    def running_round(self, model: str) -> RoundRecord | None:
        """The round that runs now, with its phase and epoch."""
        with self.read() as sql:
            return unfinished_round(sql, model)

    def versions(self, model: str) -> list[VersionRecord]:
        """The model's published versions, the first one first."""
        with self.read() as sql:
            return list_versions(sql, model)

    def test_runs(self, model: str) -> list[TestRun]:
        """How versions did on the test samples, the first run first."""
        with self.read() as sql:
            return list_test_runs(sql, model)

    def sample_counts(self, dataset: str) -> SampleCounts:
        """Samples of the dataset by role."""
        with self.read() as sql:
            return count_samples(sql, dataset)

    def pool_counts(self, model: str, dataset: str | None = None) -> PoolCounts:
        """Samples by what the model has done with them. dataset: as the model is named, unless told."""
        with self.read() as sql:
            return count_pools(sql, model, dataset or model)

    def read(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state of the registry."""
        return self._database.read()

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction that takes effect whole or not at all."""
        return self._database.write()

    def ping(self) -> None:
        """Return if the database answers and has its tables."""
        self._database.ping()

    def close(self) -> None:
        self._database.close()
