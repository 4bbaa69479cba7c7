"""Keeps the trainer's lease on a model, so that no two trainers race for it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection
from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import Conflict, Unavailable
from tidemill_registry import Registry
from tidemill_registry.lease_rows import confirm_lease, release_lease, renew_lease, take_lease
from tidemill_registry.records import Lease

RENEWALS_PER_LEASE = 3
"""How often a lease is renewed in the time it lasts: it survives two renewals that fail."""
RELEASE_WAIT_S = 5.0

log = get_logger(__name__)


class LeaseKeeper:
    """Takes the lease `name` when it can and renews it in a thread, also during a long training.

    A trainer that dies leaves its lease to run out; the next one waits for that, `duration_s` at most.
    """

    def __init__(
        self, registry: Registry, name: str, *, duration_s: float, clock: Callable[[], datetime]
    ) -> None:
        self._registry = registry
        self._name = name
        self._duration_s = duration_s
        self._clock = clock
        self._holder = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._lease: Lease | None = None
        self._told = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_ended, name=f"lease-{name}", daemon=True)

    def hold(self) -> bool:
        """Whether the lease is ours, after trying to take it.

        Raises:
            Unavailable: the database did not answer.
        """
        if self._lease is None:
            with self._registry.write() as sql:
                taken = take_lease(
                    sql, self._name, holder=self._holder, duration_s=self._duration_s, now=self._clock()
                )
            self._lease = taken  # not before the commit: what was taken back is not held
            if self._lease is not None:
                log.info("lease_taken", lease=self._name, token=self._lease.token)
            elif not self._told:
                self._told = True
                log.warning("lease_held_by_another", lease=self._name)
        if self._lease is not None and self._thread.ident is None:
            self._thread.start()
        return self._lease is not None

    def check(self) -> None:
        """Return while the lease is ours.

        Raises:
            Conflict: another trainer took it over.
        """
        if self._lease is None:
            raise Conflict(f"the lease {self._name} is no longer held here")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that takes effect only while the lease is ours.

        Raises:
            Conflict: another trainer took it over; nothing was written.
            Unavailable: the database did not answer.
        """
        self.check()
        with self._registry.write() as sql:
            if self._lease is not None:
                confirm_lease(sql, self._lease)
            yield sql

    def release(self) -> None:
        """Let the next trainer in at once."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(RELEASE_WAIT_S)
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            with self._registry.write() as sql:
                release_lease(sql, lease)
        except Unavailable as error:
            log.warning("lease_not_released", error=error, lease=self._name)

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(self._duration_s / RENEWALS_PER_LEASE):
            lease = self._lease
            if lease is None:
                continue
            try:
                with self._registry.write() as sql:
                    renew_lease(sql, lease, duration_s=self._duration_s, now=self._clock())
            except Unavailable as error:
                log.warning("lease_not_renewed", error=error, lease=self._name)
            except Conflict as error:
                log.error("lease_lost", error=error, lease=self._name)
                self._lease = None
