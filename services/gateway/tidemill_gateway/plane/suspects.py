"""Who sent lately what the model itself refused: they travel among themselves for a while.

A batch that fails is halved until the guilty stand alone, about 2·log2(requests) further calls, for which its
innocent members wait. Once is bad luck; a caller who goes on would make them wait all the time.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

SUSPECT_S = 10.0
"""How long a caller is kept apart after the last thing that the model refused."""
SUSPECTS_MAX = 1000
"""Beyond it the oldest are trusted again."""


class Suspects:
    """Callers are connections: whoever shares an address with a suspect is none."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._until_s: dict[str, float] = {}

    def note(self, caller: str) -> None:
        """The model refused what this caller sent."""
        if not caller:
            return
        self._until_s.pop(caller, None)
        while len(self._until_s) >= SUSPECTS_MAX:
            del self._until_s[next(iter(self._until_s))]
        self._until_s[caller] = self._clock() + SUSPECT_S

    def knows(self, caller: str) -> bool:
        """Whether the caller is kept apart now."""
        if not self._until_s:
            return False
        until_s = self._until_s.get(caller)
        if until_s is None:
            return False
        if until_s <= self._clock():
            del self._until_s[caller]
            return False
        return True
