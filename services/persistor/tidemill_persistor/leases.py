"""Keeps the leases of what is in hand while it is gathered and written."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import TracebackType

from tidemill_chassis.logs import get_logger
from tidemill_contracts.bus import Subscription
from tidemill_contracts.errors import Unavailable

log = get_logger(__name__)

EXTENSIONS_PER_LEASE = 3
"""So many times a lease is extended before it would run out: two may fail."""


class LeaseKeeper:
    """While the context is open, a thread extends the lease of everything held.

    A thread of its own, because one write to a slow store may last longer than a lease. It holds on through
    an outage however long that takes: letting go would only count attempts against messages that are sound.
    """

    def __init__(self, subscription: Subscription, lease_s: float) -> None:
        self._subscription = subscription
        self._every_s = lease_s / EXTENSIONS_PER_LEASE
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(self._every_s)

    def hold(self, ack_ids: Iterable[str]) -> None:
        with self._lock:
            self._held.update(ack_ids)

    def release(self, ack_ids: Iterable[str]) -> None:
        with self._lock:
            self._held.difference_update(ack_ids)

    def extend(self) -> None:
        """Extend everything held now. A bus that does not answer is tried again at the next turn."""
        with self._lock:
            ack_ids = sorted(self._held)
        if not ack_ids:
            return
        try:
            self._subscription.extend(ack_ids)
        except Unavailable as error:
            if not self._failing:
                log.warning("leases_not_extended", error=error, messages=len(ack_ids))
            self._failing = True
        else:
            self._failing = False

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            self.extend()
