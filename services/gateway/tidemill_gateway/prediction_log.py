"""A sample of requests and answers onto topic `predictions`, never in a client's way."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import orjson
from prometheus_client import Counter
from tidemill_chassis.logs import get_logger
from tidemill_chassis.retry import Backoff
from tidemill_contracts.bus import Bus
from tidemill_contracts.envelope import to_message
from tidemill_contracts.errors import TidemillError
from tidemill_contracts.events import PredictionAnswered

log = get_logger(__name__)

WAITING_MAX = 1000
"""Entries that may wait for the bus; beyond it the oldest are dropped."""
BATCH_MAX = 100
LOOK_S = 0.2
STOP_S = 2.0
SOURCE = "tidemill/gateway"
ENTRIES = Counter(
    "tidemill_gateway_log_entries_total", "Sampled predictions, by what became of them", ["fate"]
)


class PredictionLog:
    """Publishes from a thread of its own. percent: the share of predictions that is sampled."""

    def __init__(
        self, bus: Bus, *, percent: float, bytes_max: int, draw: Callable[[], float] = random.random
    ) -> None:
        self._bus = bus
        self._percent = percent
        self._bytes_max = bytes_max
        self._draw = draw
        self._waiting: deque[Callable[[], PredictionAnswered]] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def offer(
        self, request: bytes, response: bytes, read: Callable[[], tuple[Any, Any]] | None = None, **facts: Any
    ) -> None:
        """Sample one prediction. The bodies are parsed later, in the thread.

        read: makes JSON values of bodies that are no JSON text.
        """
        if self._draw() * 100 >= self._percent:
            return
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            ENTRIES.labels("dropped").inc()
        kept = len(request) + len(response) <= self._bytes_max
        if not kept:
            request, response, read = b"", b"", None
        bodies = read or (lambda: (_parsed(request), _parsed(response)))
        self._waiting.append(lambda: _entry(bodies, facts))

    def close(self) -> None:
        """Publish what waits, if the bus takes it within STOP_S."""
        self._stop.set()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        backoff = Backoff(first_s=LOOK_S, limit_s=10.0)
        wait_s = LOOK_S
        while not self._stop.wait(wait_s) or self._waiting:
            wait_s = LOOK_S
            if not self._publish():
                if self._stop.is_set():
                    return
                wait_s = backoff.next_s()
            else:
                backoff.reset()

    def _publish(self) -> bool:
        """Publish some of what waits; whether the bus took it. What it refuses is dropped and counted."""
        taken = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
        if not taken:
            return True
        try:
            messages = [to_message(make(), source=SOURCE) for make in taken]
            self._bus.publish(PredictionAnswered.topic, messages)
        except (TidemillError, ValueError) as error:
            log.warning("predictions_not_logged", error=error, count=len(taken))
            ENTRIES.labels("failed").inc(len(taken))
            return False
        ENTRIES.labels("published").inc(len(taken))
        return True


def _entry(bodies: Callable[[], tuple[Any, Any]], facts: dict[str, Any]) -> PredictionAnswered:
    request, response = bodies()
    return PredictionAnswered(request=request, response=response, **facts)


def _parsed(body: bytes) -> Any | None:
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return None
