"""Pulls the next messages while the last ones are looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from tidemill_contracts.bus import Backlog, Delivery, Subscription
from tidemill_contracts.errors import TidemillError

from tidemill_persistor.intake import PULL_MESSAGES_MAX
from tidemill_persistor.leases import LeaseKeeper

WAIT_S_MAX = 0.5
"""So long a pull waits for messages, and so long a stop may have to wait for a pull."""


class PullAhead:
    """A subscription whose next pull is under way while its caller works on the last one.

    A broker takes as long to hand messages out as the persistor to look at them; so neither waits for the
    other. What is pulled ahead counts against what the caller last asked for, and its leases are kept from
    when it came. On leaving the context, what nobody took is given back.
    """

    def __init__(self, inner: Subscription, leases: LeaseKeeper) -> None:
        self._inner = inner
        self._leases = leases
        self._changed = threading.Condition()
        self._wanted = 0
        self._out = False
        self._came: list[Delivery] = []
        self._error: BaseException | None = None
        self._woken = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)
        self.acknowledge: Callable[[Sequence[str]], None] = inner.acknowledge
        self.extend: Callable[[Sequence[str]], None] = inner.extend
        self.dead_letter: Callable[[Delivery, str], None] = inner.dead_letter

    def __enter__(self) -> PullAhead:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(2 * WAIT_S_MAX)
        with self._changed:
            left, self._came = self._came, []
        self._leases.release(delivery.ack_id for delivery in left)
        try:
            self._inner.give_back([delivery.ack_id for delivery in left])
        except TidemillError:
            return  # their leases run out by themselves

    def give_back(self, ack_ids: Sequence[str], delay_s: float = 0.0) -> None:
        self._inner.give_back(ack_ids, delay_s)

    def backlog(self) -> Backlog:
        return self._inner.backlog()

    def pull(self, messages_max: int, wait_s: float) -> list[Delivery]:
        """As the port says; also returns when `wake` is called. Raises what the pull before raised."""
        with self._changed:
            if not self._came and not self._out:
                self._want(messages_max)
            self._changed.wait_for(lambda: self._came or self._error or self._woken, wait_s)
            self._woken = False
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            taken, self._came = self._came[:messages_max], self._came[messages_max:]
            if not self._came and not self._out:
                self._want(messages_max - len(taken))
            return taken

    def wake(self) -> None:
        """Let the pull that waits, or the next one, return at once."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def _want(self, messages_max: int) -> None:
        self._wanted = min(messages_max, PULL_MESSAGES_MAX)
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._wanted > 0)
                if self._ended:
                    return
                self._out = True
            self._pull_once()

    def _pull_once(self) -> None:
        came: list[Delivery] = []
        failed: BaseException | None = None
        try:
            came = self._inner.pull(self._wanted, WAIT_S_MAX)
            self._leases.hold(delivery.ack_id for delivery in came)
        except Exception as error:  # noqa: BLE001  (raised again in the thread that asks)
            failed = error
        with self._changed:
            self._out = False
            self._came, self._error = came, failed
            if came or failed:
                self._wanted = 0
                self._changed.notify_all()
