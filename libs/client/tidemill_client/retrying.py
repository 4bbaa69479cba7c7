"""When to try again, and when to give up. No clock of its own, no sleeping."""

from __future__ import annotations

import random
from collections.abc import Callable

from tidemill_client.protocol import TRY_AGAIN, GatewayError, Refused, Unreachable

FIRST_WAIT_S = 0.05
WAIT_S_MAX = 5.0


class Attempts:
    """The tries of one request: at most `attempts_max`, all within `timeout_s`.

    clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        attempts_max: int,
        timeout_s: float,
        clock: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._attempts_left = attempts_max
        self._clock = clock
        self._end_s = clock() + timeout_s
        self._wait_s = FIRST_WAIT_S
        self._draw = draw

    def left_s(self) -> float:
        """How much time is left; never below a millisecond, so that it can be a timeout."""
        return max(0.001, self._end_s - self._clock())

    def wait_s_after(self, error: GatewayError) -> float:
        """How long to wait before the next try: at least what the gateway asked for.

        Raises:
            GatewayError: `error` itself, if another try cannot help or does not fit.
        """
        self._attempts_left -= 1
        again = isinstance(error, Unreachable) or (isinstance(error, Refused) and error.status in TRY_AGAIN)
        asked_s = error.retry_after_s if isinstance(error, Refused) else None
        wait_s = max(asked_s or 0.0, self._wait_s * (0.5 + self._draw() / 2))
        self._wait_s = min(WAIT_S_MAX, self._wait_s * 2)
        if not again or self._attempts_left <= 0 or self._clock() + wait_s >= self._end_s:
            raise error
        return wait_s
