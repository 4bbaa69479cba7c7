"""A limited amount that requests share in turn: pixels being decoded, bytes being handled."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from tidemill_contracts.errors import Overloaded


class Budget:
    """At most `amount_max` is out at any time. Who asks first is served first, so that nobody starves."""

    def __init__(self, what: str, amount_max: int) -> None:
        self._what = what
        self._amount_max = amount_max
        self._free = amount_max
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, amount: int, wait_s: float) -> Iterator[None]:
        """Take the amount while the context is open; more than there ever is counts as all of it.

        Raises:
            Overloaded: it was not free within `wait_s`.
        """
        amount = min(amount, self._amount_max)
        self._take(amount, wait_s)
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                if self._queue:
                    self._changed.notify_all()

    def waiting(self) -> int:
        """How many wait for their amount now."""
        with self._changed:
            return len(self._queue)

    def _take(self, amount: int, wait_s: float) -> None:
        with self._changed:
            if not self._queue and self._free >= amount:  # as nearly always
                self._free -= amount
                return
            ticket = object()
            self._queue.append(ticket)
            try:
                free = self._changed.wait_for(
                    lambda: self._queue[0] is ticket and self._free >= amount, wait_s
                )
                if not free:
                    raise Overloaded(f"too many {self._what} at once; try again in a moment")
                self._free -= amount
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
