"""One pull that stays out until it is answered, however often it is asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import grpc

from tidemill_chassis.adapters.pubsub_api import PULL, PubsubApi, explained

PULL_MESSAGES_MAX = 1000
PULL_TIMEOUT_S = 60.0


class OutstandingPull:
    """Takes messages from a subscription; one call at a time is on its way.

    A call that is cancelled when a short wait is over may have messages on it already: they would come again
    only after their deadline. So a call that outlasts its wait stays out, and the next `take` has its answer.
    """

    def __init__(self, api: PubsubApi, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._call: Any = None
        self._kept: list[Any] = []
        self._came_at_s = 0.0

    def take(self, messages_max: int, wait_s: float) -> tuple[list[Any], float]:
        """Up to `messages_max` received messages, and the seconds since they came; empty after `wait_s`.

        Raises:
            Unavailable: Pub/Sub did not answer.
            NotFound: there is no such subscription.
        """
        end_s = self._clock() + wait_s
        with self._lock:
            while not self._kept and self._receive(messages_max, end_s):
                pass
            taken, self._kept = self._kept[:messages_max], self._kept[messages_max:]
            return taken, self._clock() - self._came_at_s

    def ask(self, messages_max: int) -> None:
        """Send the next call already, if none is out and nothing came."""
        with self._lock:
            if self._call is None and not self._kept:
                self._start(messages_max)

    def _start(self, messages_max: int) -> None:
        request = PULL.request(subscription=self._path, max_messages=min(messages_max, PULL_MESSAGES_MAX))
        self._call = self._api.start(PULL, request, timeout_s=PULL_TIMEOUT_S)
        self._call.add_done_callback(self._came)

    def _receive(self, messages_max: int, end_s: float) -> bool:
        """Wait for an answer; whether there is time for another."""
        if self._call is None:
            self._start(messages_max)
        try:
            answer = self._call.result(timeout=max(0.0, end_s - self._clock()))
        except grpc.FutureTimeoutError:
            return False
        except grpc.RpcError as error:
            self._call = None
            code = error.code() if isinstance(error, grpc.Call) else None
            if code is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise explained(error) from error
        else:
            self._call = None
            self._kept.extend(answer.received_messages)
        return self._clock() < end_s

    def _came(self, _call: Any) -> None:
        self._came_at_s = self._clock()

    def close(self) -> list[Any]:
        """Ask no more; what had come and nobody took."""
        with self._lock:
            call, self._call = self._call, None
            kept, self._kept = self._kept, []
        if call is not None and call.done() and call.exception() is None:
            kept.extend(call.result().received_messages)
        elif call is not None:
            call.cancel()
        return kept
