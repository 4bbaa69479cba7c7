"""What can be seen of a platform from outside: what is read, pools, rounds, versions."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from tidemill_chassis.adapters import open_store
from tidemill_contracts.manifest import Labels, read_labels
from tidemill_contracts.model_spec import ModelSpec
from tidemill_registry.batches import pending_objects
from tidemill_registry.records import PoolCounts, RoundRecord, SampleCounts, TestRun, VersionRecord
from tidemill_registry.refused_rows import accounted_ids
from tidemill_registry.registry import Registry

from tidemill.deployment import Addresses
from tidemill.unread import Unread


@dataclass(frozen=True)
class Observation:
    """One look at one model.

    in_flight: published samples that the trainer has neither read nor refused.
    unread: whether the trainer has an object still to index.
    """

    in_flight: int
    unread: bool
    samples: SampleCounts
    pools: PoolCounts
    rounds: tuple[RoundRecord, ...]
    versions: tuple[VersionRecord, ...]
    test_runs: tuple[TestRun, ...]
    labels: Labels

    @property
    def running(self) -> RoundRecord | None:
        """The round that is not closed yet."""
        return next((one for one in self.rounds if one.closed_at is None), None)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do for what was published: kept, read, tried, measured, serving."""
        if self.in_flight or self.unread or self.pools.new or self.running:
            return False
        if not self.versions:
            return True
        latest = self.versions[-1].version
        measured = not self.samples.test or any(
            run.version == latest and run.sample_count >= self.samples.test for run in self.test_runs
        )
        return measured and self.labels.candidate is None


class Observer:
    """Looks at a platform. A context manager; every look may raise Unavailable.

    published: the samples that are waited for; whoever publishes adds to it.
    """

    def __init__(self, addresses: Addresses, spec: ModelSpec, published: Unread | None = None) -> None:
        self._spec = spec
        self._unread = Unread() if published is None else published
        self._store = open_store(addresses.store)
        self._registry = Registry.open(addresses.database)

    def look(self) -> Observation:
        """What is to be seen now; upstream first, so that nothing slips by between two questions."""
        model, dataset = self._spec.name, self._spec.dataset
        with self._registry.read() as sql:
            self._unread.look(lambda ids: accounted_ids(sql, dataset, ids))
            unread = bool(pending_objects(sql, dataset, limit=1))
        return Observation(
            in_flight=len(self._unread),
            unread=unread,
            samples=self._registry.sample_counts(dataset),
            pools=self._registry.pool_counts(model, dataset),
            rounds=tuple(self._registry.rounds(model)),
            versions=tuple(self._registry.versions(model)),
            test_runs=tuple(self._registry.test_runs(model)),
            labels=read_labels(self._store, model)[0],
        )

    def __enter__(self) -> Observer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._registry.close()
