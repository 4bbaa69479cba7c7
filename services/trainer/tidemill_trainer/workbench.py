"""What the rounds of one model work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from tidemill_chassis import retry
from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.logs import Log
from tidemill_contracts.bus import Bus
from tidemill_contracts.model_spec import ModelSpec
from tidemill_contracts.objects import ObjectStore
from tidemill_registry import Registry
from tidemill_registry.records import RoundKind, Waiting

from tidemill_trainer.datasets import Learner
from tidemill_trainer.kept_inputs import KeptInputs
from tidemill_trainer.lease import LeaseKeeper

ATTEMPTS_MAX = 15
PAUSE_FIRST_S = 0.5
PAUSE_LIMIT_S = 30.0
"""Together about five minutes: a round's result outlives an outage of that length without training again."""

T = TypeVar("T")


class Interrupted(Exception):
    """The process should end. What is under way stays open, to be resumed."""


@dataclass(frozen=True)
class Pools:
    """What waits for a round, as it was counted when the registry had this mark."""

    mark: tuple[int, ...]
    waiting: Waiting
    ignored_count: int


@dataclass
class Workbench:
    """Ports, recipe and lease of one model.

    work: scratch folder. told: what was logged once, by subject. pools: the last count.
    blocked: the registry's mark when a round of the kind was last found to be worth nothing.
    validation, tests: what was read of the samples that every round, and every test, asks again.
    only_looks: a round is repeated to be compared; nothing is written anywhere, and no lease is needed.
    """

    learner: Learner
    registry: Registry
    store: ObjectStore
    bus: Bus
    lease: LeaseKeeper
    clock: Callable[[], datetime]
    stop: Stop
    work: Path
    told: dict[str, str] = field(default_factory=dict)
    pools: Pools | None = None
    blocked: dict[RoundKind, tuple[int, ...]] = field(default_factory=dict)
    validation: KeptInputs = field(default_factory=KeptInputs)
    tests: KeptInputs = field(default_factory=KeptInputs)
    only_looks: bool = False

    @property
    def spec(self) -> ModelSpec:
        return self.learner.spec

    def step(self) -> None:
        """Return if work may go on.

        Raises:
            Interrupted: the process should end.
            Conflict: another trainer took over.
        """
        if self.stop.is_set():
            raise Interrupted
        if not self.only_looks:
            self.lease.check()

    def outlast(self, function: Callable[[], T]) -> T:
        """The function's result, tried again while something it needs is Unavailable; limited as above.

        Raises:
            Unavailable: after ATTEMPTS_MAX attempts.
            Interrupted, Conflict: as `step` does.
        """

        def pause(seconds: float) -> None:
            self.stop.wait(seconds)
            self.step()

        backoff = retry.Backoff(PAUSE_FIRST_S, PAUSE_LIMIT_S)
        return retry.call(function, attempts_max=ATTEMPTS_MAX, backoff=backoff, sleep=pause)

    def tell_once(self, log: Log, event: str, reason: str) -> None:
        """Log a standing state when it begins or its reason changes, not at every look."""
        if self.told.get(event) != reason:
            self.told[event] = reason
            log.info(event, model=self.spec.name, reason=reason)

    def forget(self, event: str) -> None:
        """The state is over; the next time it is news again."""
        self.told.pop(event, None)
