"""Waiting between tries: exponential, jittered, bounded."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from tidemill_contracts.errors import Unavailable

T = TypeVar("T")


class Backoff:
    """Durations between tries, in seconds: doubling from `first_s` up to `limit_s`, each cut by up to half.

    The jitter keeps those who failed together from coming back together.
    """

    def __init__(self, first_s: float, limit_s: float, random_source: random.Random | None = None) -> None:
        if not 0 < first_s <= limit_s:
            raise ValueError(f"a backoff needs 0 < first_s <= limit_s, not {first_s} and {limit_s}")
        self._first_s = first_s
        self._limit_s = limit_s
        self._random = random_source or random.Random()  # noqa: S311  (no secret depends on it)
        self._tries = 0

    def next_s(self) -> float:
        """How long to wait now."""
        full_s = min(self._limit_s, self._first_s * 2.0 ** min(self._tries, 60))
        self._tries += 1
        return full_s * self._random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It went well: begin anew the next time."""
        self._tries = 0


def call(
    function: Callable[[], T],
    *,
    on: tuple[type[Exception], ...] = (Unavailable,),
    attempts_max: int = 5,
    backoff: Backoff | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """The function's result; while it raises one of `on`, try again up to `attempts_max` times in all.

    Raises:
        The last error, once the attempts are used up.
    """
    waits = backoff or Backoff(0.1, 5.0)
    for attempt in range(1, attempts_max + 1):
        try:
            return function()
        except on:
            if attempt == attempts_max:
                raise
            sleep(waits.next_s())
    raise ValueError(f"attempts_max must be at least 1, not {attempts_max}")
