"""Which of the published samples the trainer has not read yet: the same question on every bus."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

CHECKED_AT_ONCE = 1_000
"""Ids in one question. A look asks again only while all of a portion are read."""

Accounted = Callable[[list[str]], set[str]]
"""Those of the ids that are in the registry, as a sample or as a refusal."""


class Unread:
    """The ids that ingest confirmed, without those that the registry tells of; both only ever grow.

    A broker's own count would be quicker, but Pub/Sub tells it minutes late, and what another producer
    publishes meanwhile would be waited for too.
    """

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()

    def add(self, ids: Iterable[str]) -> None:
        """Ingest confirmed these."""
        self._waiting.extend(ids)

    def __len__(self) -> int:
        """How many were not seen in the registry at the last look."""
        return len(self._waiting)

    def some(self, count: int) -> list[str]:
        """A few of them, the first published first."""
        return list(islice(self._waiting, count))

    def look(self, accounted: Accounted) -> None:
        """Take out what is accounted for. The first published are asked for first: they are read first."""
        for _ in range(len(self._waiting) // CHECKED_AT_ONCE + 1):
            portion = [self._waiting.popleft() for _ in range(min(CHECKED_AT_ONCE, len(self._waiting)))]
            known = accounted(portion) if portion else set()
            left = [ident for ident in portion if ident not in known]
            self._waiting.extendleft(reversed(left))
            if left:
                return
