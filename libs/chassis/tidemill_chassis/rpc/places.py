"""Which calls are at work, and in how many threads; which wait.

Calls that compute contend for the cores and for Python's lock: as many are at work as `at_once` says, and
what else comes waits. But a call may also just wait, for a configuration to load or for a long run of a
model: one that has lasted `HELD_UP_S` gives up its place (docs/adr/0062).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

from tidemill_chassis.rpc.serving_side import Call

HELD_UP_S = 0.02
"""A call that has lasted so long gives up its place: another may start beside it."""

CALLS_WAITING_MAX = 2_048
"""Calls that may wait for a place."""


class Places:
    """Safe for threads, each of which is known by a number.

    at_once: calls at work, without those that are held up. most: calls at work in all. start_thread: start
    one more that reads; False if the machine has none. wake: have one of the threads that read look here.
    """

    def __init__(
        self, *, at_once: int, most: int, start_thread: Callable[[int], bool], wake: Callable[[], None]
    ) -> None:
        self._at_once = min(at_once, most)
        self._most = most
        self._start_thread = start_thread
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: deque[Call] = deque()
        self._since_s: dict[int, float] = {}
        """When each call at work began, by its thread's number."""
        self._threads = 0
        self._numbers = 0
        self._reading = 0
        """Threads that wait for, or read, what comes."""

    def open(self) -> None:
        """Start as many threads as may be at work at once, and one that reads meanwhile."""
        with self._lock:
            for _ in range(self._at_once + 1):
                self._one_more()

    @property
    def has_waiting(self) -> bool:
        """Whether a call waits for a place."""
        return bool(self._waiting)

    @property
    def calls(self) -> int:
        """How many wait or are at work."""
        return len(self._since_s) + len(self._waiting)

    @property
    def threads(self) -> int:
        """How many there are."""
        return self._threads

    def offer(self, call: Call) -> bool:
        """Queue a call; False if too many wait."""
        if len(self._waiting) >= CALLS_WAITING_MAX:
            return False
        self._waiting.append(call)
        return True

    def begin(self, number: int) -> Call | None:
        """The oldest call that waits, if there is a place for it: the thread is at work from now on."""
        with self._lock:
            if not self._waiting or not self._has_place():
                return None
            self._since_s[number] = monotonic()
            self._reading -= 1
            if not self._reading and self._threads <= self._most:
                self._one_more()
            call = self._waiting.popleft()
        if self._waiting:
            self._wake()  # one that waits for what may not come
        return call

    def next(self, number: int) -> Call | None:
        """What the thread does after a call; None: it goes back to reading."""
        with self._lock:
            del self._since_s[number]
            if self._waiting and self._has_place():
                self._since_s[number] = monotonic()
                return self._waiting.popleft()
            self._reading += 1
            return None

    def is_spare(self) -> bool:
        """Whether the thread that asks is to end, since others read; then it is no longer counted."""
        with self._lock:
            if self._threads > self._at_once + 1 and self._reading > 1:
                self._threads -= 1
                self._reading -= 1
                return True
            return False

    def _has_place(self) -> bool:
        at_work = len(self._since_s)
        if at_work < self._at_once:
            return True
        if at_work >= self._most:
            return False
        late_s = monotonic() - HELD_UP_S
        return sum(since_s > late_s for since_s in self._since_s.values()) < self._at_once

    def _one_more(self) -> None:
        """With the lock held."""
        self._numbers += 1
        if self._start_thread(self._numbers):
            self._threads += 1
            self._reading += 1
