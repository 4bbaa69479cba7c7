"""Waits, after the last fault, until everything that was published is kept."""

from __future__ import annotations

import time
from collections.abc import Callable

from tidemill_contracts.bus import Backlog, Bus
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.layout import batch_prefix
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.samples import SPLITS

from tidemill.torture.audit import ids_in
from tidemill.torture.crew import LEASE_S, PERSISTOR
from tidemill.torture.messages import DATASET

CALM_S_MAX = 60.0
LOOK_EVERY_S = 0.5
DONE = Backlog(waiting=0, leased=0)
QUIET_S = 12.0
"""Pub/Sub's shortest deadline is 10 s: what a killed persistor held comes again only then."""
UNSURE_S_MAX = 120.0


def wait_for_backlog(bus: Bus) -> float:
    """Seconds until the persistor's subscription has nothing left.

    Raises:
        Unavailable: that took longer than CALM_S_MAX.
    """
    begun_s = time.monotonic()
    subscription = bus.subscribe(
        SamplesReceived.topic, PERSISTOR, ack_deadline_s=LEASE_S, attempts_max=100, ordered=False
    )
    while (left := subscription.backlog()) != DONE:
        if time.monotonic() - begun_s > CALM_S_MAX:
            raise Unavailable(f"after {CALM_S_MAX:.0f} s of calm there are still {left}")
        time.sleep(0.1)
    return time.monotonic() - begun_s


def wait_for_objects(
    store: ObjectStore,
    confirmed: set[str],
    *,
    quiet_s: float = QUIET_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> float:
    """Seconds until the last object came: nothing is missing, and all is quiet. For a bus without a backlog.

    After UNSURE_S_MAX it returns with samples missing: to name them is the audit's affair.
    """
    begun_s = changed_s = clock()
    missing, seen = set(confirmed), set[str]()
    while clock() - begun_s < UNSURE_S_MAX:
        names = {info.name for split in SPLITS for info in store.list(batch_prefix(DATASET, split))}
        for name in sorted(names - seen):
            missing -= ids_in(store, name)
        if names - seen:
            changed_s = clock()
        seen |= names
        if not missing and clock() - changed_s > quiet_s:
            break
        sleep(LOOK_EVERY_S)
    return changed_s - begun_s
