"""The training view under torture: what the registry says may train, held against the ledger."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.objects import ObjectStore
from tidemill_registry import Registry
from tidemill_registry.tables import objects, refused_samples, round_samples, rounds, samples, versions

from tidemill.torture.learner import MODEL
from tidemill.torture.messages import DATASET
from tidemill.verification import Tally, Verifier

UNSURE_S_MAX = 120.0
LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class View:
    """The figures; the first five are 0 where nothing went wrong.

    lost: confirmed samples that no sound object gives to the training view, and that were not refused either.
    unexpected: samples in the view that were never published.
    twice: samples that were new in two rounds of the model.
    torn: promoted rounds without exactly one version, or versions without such a round.
    differences: what `tidemill verify` finds between store and registry, beside the damaged objects.
    quarantined: objects that the trainer put aside. resumed: rounds that were begun more than once.
    """

    lost: int
    unexpected: int
    twice: int
    torn: int
    differences: int
    rows: int
    quarantined: int
    rounds: int
    promoted: int
    resumed: int

    @property
    def is_clean(self) -> bool:
        return not any((self.lost, self.unexpected, self.twice, self.torn, self.differences))


def read_view(
    registry: Registry, store: ObjectStore, confirmed: set[str], attempted: set[str], damaged: set[str]
) -> View:
    """The figures of a platform at rest."""
    verifier, tally = Verifier(store, registry), Tally()
    names = verifier.names(DATASET)
    differences = [each for name in names for each in verifier.check(name, tally)]
    differences += [*verifier.missing(names, DATASET), *verifier.miscounted(DATASET)]
    with registry.read() as sql:
        seen = in_view(sql)
        faulty = sql.scalar(select(func.count()).where(objects.c.fault.is_not(None))) or 0
        rows = sql.execute(select(rounds.c.id, rounds.c.status, rounds.c.starts)).all()
        made = Counter(sql.scalars(select(versions.c.round_id)))
        used = Counter(sql.scalars(_FIRST_USES))
        every = set(sql.scalars(select(samples.c.sample_id).where(samples.c.dataset == DATASET)))
        refused = _refused(sql)
    promoted = Counter(row.id for row in rows if row.status == "promoted")
    return View(
        lost=len(confirmed - seen - refused),
        unexpected=len(every - attempted),
        twice=sum(count > 1 for count in used.values()),
        torn=(promoted - made).total() + (made - promoted).total(),
        differences=sum(each.object not in damaged for each in differences),
        rows=len(every),
        quarantined=faulty,
        rounds=len(rows),
        promoted=len(promoted),
        resumed=sum(row.starts > 1 for row in rows),
    )


def in_view(sql: Connection) -> set[str]:
    """The samples that lie in an object which is not in quarantine."""
    query = (
        select(samples.c.sample_id)
        .join(objects, objects.c.name == samples.c.object)
        .where(samples.c.dataset == DATASET, objects.c.fault.is_(None))
    )
    return set(sql.scalars(query))


def wait_for_view(
    registry: Registry,
    expected: set[str],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> float:
    """Seconds until the trainer has read every object and has these samples.

    After UNSURE_S_MAX it returns as things are: to name what is missing is the audit's affair.
    """
    begun_s = clock()
    while clock() - begun_s < UNSURE_S_MAX:
        try:
            with registry.read() as sql:
                waiting = sql.scalar(_WAITING) or 0
                if not waiting and not expected - in_view(sql) - _refused(sql):
                    break
        except Unavailable:
            pass  # of a database that comes back from a fault
        sleep(LOOK_EVERY_S)
    return clock() - begun_s


_WAITING = select(func.count()).where(objects.c.indexed_at.is_(None), objects.c.fault.is_(None))
_FIRST_USES = (
    select(round_samples.c.sample_id)
    .join(rounds, rounds.c.id == round_samples.c.round_id)
    .where(
        rounds.c.model == MODEL,
        rounds.c.kind == "new",
        round_samples.c.part.in_(("train", "validation")),
    )
)


def _refused(sql: Connection) -> set[str]:
    query = select(refused_samples.c.sample_id).where(refused_samples.c.dataset == DATASET)
    return {ident for ident in sql.scalars(query) if ident}
