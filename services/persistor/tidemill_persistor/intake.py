"""How many messages to ask for, when their sizes are known only once they are here."""

from __future__ import annotations

PULL_MESSAGES_MAX = 500
PULLS_MAX = 2
"""One whose messages are looked at, and one ahead."""
FIRST_SIZE_BYTES = 1024 * 1024
"""Assumed of a message until one was seen: what ingest makes at most."""
DECAY = 0.99
"""Per message, how fast a large one is forgotten: after 500 small ones the guess is 0.7 % of it."""


class Intake:
    """Guesses the size of what comes from the largest message lately seen.

    So the hand goes over its limit by two pulls at most, and only when messages grow suddenly.
    """

    def __init__(self) -> None:
        self._size_bytes = float(FIRST_SIZE_BYTES)

    def saw(self, largest_bytes: int, messages: int = 1) -> None:
        """So many messages came, none larger than that."""
        self._size_bytes = max(largest_bytes, self._size_bytes * DECAY**messages)

    def messages_max(self, room: tuple[int, int]) -> int:
        """How many messages to pull into room for so many messages and bytes; at least one."""
        messages, size_bytes = room
        fitting = int(size_bytes / self._size_bytes)
        return max(1, min(PULLS_MAX * PULL_MESSAGES_MAX, messages, fitting))
