"""Tells once that something stopped answering, and once that it answers again."""

from __future__ import annotations

from collections.abc import Callable

from tidemill_chassis.logs import get_logger
from tidemill_chassis.retry import Backoff
from tidemill_contracts.errors import Unavailable

from tidemill_persistor import measures

log = get_logger(__name__)

PAUSE_FIRST_S = 0.2
PAUSE_LIMIT_S = 10.0


class Outage:
    """Whether we are in an outage, and how long to pause."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._backoff = Backoff(PAUSE_FIRST_S, PAUSE_LIMIT_S)
        self._since_s: float | None = None
        self.reason = ""

    def pause_s(self, error: Unavailable) -> float:
        """Something did not answer: how long to wait before the next try."""
        if self._since_s is None:
            self._since_s = self._clock()
            measures.OUTAGES.inc()
            log.warning("outage_began", error=error)
        self.reason = str(error)
        return self._backoff.next_s()

    def over(self) -> None:
        """Everything answered."""
        if self._since_s is not None:
            log.info("outage_ended", duration_s=round(self._clock() - self._since_s, 3))
        self._since_s = None
        self.reason = ""
        self._backoff.reset()
