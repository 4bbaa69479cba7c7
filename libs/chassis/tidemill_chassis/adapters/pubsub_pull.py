"""Pulls that stay out until they are answered, however often they are asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import grpc

from tidemill_chassis.adapters.pubsub_api import PULL, PubsubApi, explained

PULL_MESSAGES_MAX = 1000
CALLS_MAX = 2
"""So many are out where somebody asks ahead: the server works at one while the other's answer is read."""
PULL_TIMEOUT_S = 60.0
CLOSE_WAIT_S = 0.1
"""So long an answer may still be on its way at the end; one that is not waits for messages."""


class OutstandingPull:
    """Takes messages from a subscription; one call is on its way, or CALLS_MAX for who asks ahead.

    A call that is cancelled when a short wait is over may have messages on it already: they would come again
    only after their deadline. So a call that outlasts its wait stays out, and a later `take` has its answer.

    Threads of ours make the calls and wait for them: gRPC starts one for each future, which cost several
    microseconds a message where an answer has 100.
    """

    def __init__(self, api: PubsubApi, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._path = path
        self._clock = clock
        self._changed = threading.Condition()
        self._wanted: list[int] = []  # calls that no thread makes yet, each by how many messages it may bring
        self._out = 0  # those, and those on their way
        self._kept: list[Any] = []
        self._failed: Exception | None = None
        self._came_at_s = 0.0
        self._closed = False
        self._threads: list[threading.Thread] = []

    def take(self, messages_max: int, wait_s: float) -> tuple[list[Any], float]:
        """Up to `messages_max` received messages, and the seconds since they came; empty after `wait_s`.

        Raises:
            Unavailable: Pub/Sub did not answer.
            NotFound: there is no such subscription.
        """
        end_s = self._clock() + wait_s
        with self._changed:
            while not self._kept and not self._closed:
                if not self._out:
                    self._want(messages_max)
                left_s = max(0.0, end_s - self._clock())
                answered = self._changed.wait_for(lambda: self._kept or self._failed or not self._out, left_s)
                failed, self._failed = self._failed, None
                if failed is not None:
                    raise failed
                if not answered or self._clock() >= end_s:
                    break
            taken, self._kept = self._kept[:messages_max], self._kept[messages_max:]
            return taken, self._clock() - self._came_at_s

    def ask(self, messages_max: int) -> None:
        """Send the next calls already, if nothing came."""
        calls = min(CALLS_MAX, messages_max)
        with self._changed:
            while not self._kept and not self._closed and self._out < calls:
                self._want(-(-messages_max // calls))

    def close(self) -> list[Any]:
        """Ask no more; what had come and nobody took. A call that is still out ends with its channel."""
        with self._changed:
            self._closed = True
            self._out -= len(self._wanted)
            self._wanted.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._out, CLOSE_WAIT_S)
            kept, self._kept = self._kept, []
        return kept

    def _want(self, messages_max: int) -> None:
        """Let a thread call."""
        self._wanted.append(min(messages_max, PULL_MESSAGES_MAX))
        self._out += 1
        if len(self._threads) < self._out:
            self._threads.append(threading.Thread(target=self._run, name="pull", daemon=True))
            self._threads[-1].start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._closed)
                if not self._wanted:
                    return
                wanted = self._wanted.pop()
            found: list[Any] = []
            failed: Exception | None = None
            try:
                found = self._pull(wanted)
            except Exception as error:  # noqa: BLE001  (who takes next hears of it, whatever it is)
                failed = error
            with self._changed:
                if not self._kept:
                    self._came_at_s = self._clock()
                self._kept.extend(found)
                self._failed = failed or self._failed
                self._out -= 1
                self._changed.notify_all()

    def _pull(self, messages_max: int) -> list[Any]:
        request = PULL.request(subscription=self._path, max_messages=messages_max)
        try:
            return list(self._api.once(PULL, request, timeout_s=PULL_TIMEOUT_S).received_messages)
        except grpc.RpcError as error:
            code = error.code() if isinstance(error, grpc.Call) else None
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                return []
            raise explained(error) from error
