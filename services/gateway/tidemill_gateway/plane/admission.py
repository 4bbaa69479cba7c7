"""How much may wait at once, and when a refused caller should come back."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tidemill_contracts.errors import Overloaded, TooLarge

RETRY_AFTER_S_MIN = 0.05
RETRY_AFTER_S_MAX = 30.0
RATE_MEMORY_S = 2.0
"""How far back the measured drain rate looks."""


@dataclass(frozen=True)
class AdmissionLimits:
    """Rows and bytes that may be admitted and not yet answered, over all lanes."""

    rows_max: int = 8192
    bytes_max: int = 256 * 2**20


class DrainRate:
    """Rows answered per second, lately: an exponential mean with a memory of RATE_MEMORY_S."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._at_s = -math.inf

    def add(self, rows: int, now_s: float) -> None:
        """Say that `rows` were answered now."""
        self._rate = self.per_s(now_s) + rows / RATE_MEMORY_S
        self._at_s = now_s

    def per_s(self, now_s: float) -> float:
        """Rows per second."""
        return self._rate * math.exp(-max(0.0, now_s - self._at_s) / RATE_MEMORY_S)


class Admission:
    """Counts what is inside, refuses what is too much."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self.limits = limits
        self.rows = 0
        self.bytes = 0
        self.drain = DrainRate()

    def enter(self, rows: int, size_bytes: int, now_s: float) -> None:
        """Let a request in.

        Raises:
            TooLarge: it would not fit even alone.
            Overloaded: it does not fit now; `retry_after_s` is when the queue will have drained.
        """
        if rows > self.limits.rows_max or size_bytes > self.limits.bytes_max:
            raise TooLarge(
                f"the request has {rows} rows and {size_bytes} bytes; "
                f"at most {self.limits.rows_max} rows and {self.limits.bytes_max} bytes are taken at once"
            )
        if self.rows + rows > self.limits.rows_max or self.bytes + size_bytes > self.limits.bytes_max:
            wait_s = self.retry_after_s(now_s)
            said = f"too much is waiting ({self.rows} rows): try again in {wait_s:.2f} s"
            raise Overloaded(said, retry_after_s=wait_s)
        self.rows += rows
        self.bytes += size_bytes

    def leave(self, rows: int, size_bytes: int) -> None:
        """A request that entered is over, however it ended."""
        self.rows -= rows
        self.bytes -= size_bytes

    def retry_after_s(self, now_s: float) -> float:
        """When what waits now will have been answered, at the rate of late; between the two named bounds."""
        rate = self.drain.per_s(now_s)
        wait_s = self.rows / rate if rate > 0 else RETRY_AFTER_S_MAX
        return min(max(wait_s, RETRY_AFTER_S_MIN), RETRY_AFTER_S_MAX)
