"""One call's two directions on a connection."""

from __future__ import annotations

from collections import deque
from typing import TypeVar

STREAM_WINDOW = 4 * 2**20
"""What a stream may send ahead of us; taken notes of at half of it."""

PARTS_KEPT_MAX = 64
PART_BYTES_MIN = 4_096
"""A message's parts are joined once they are more than so many and smaller on average."""

READ_SHARE_MIN = 32
"""A part that is less than such a share of what was read with it is copied out: a view keeps all of that."""


class Stream:
    """One call's both directions."""

    __slots__ = (
        "allowance",
        "buffered",
        "ended",
        "number",
        "outgoing",
        "parts",
        "send_window",
        "trailer",
        "unacknowledged",
    )

    def __init__(self, number: int, send_window: int) -> None:
        self.number = number
        self.send_window = send_window
        self.allowance = STREAM_WINDOW
        self.unacknowledged = 0
        self.parts: list[memoryview] = []
        self.buffered = 0
        self.ended = False
        """The other side has said all."""
        self.outgoing: deque[memoryview] = deque()
        """What waits for a window to open."""
        self.trailer: bytes | None = None
        """The frame that follows `outgoing`; empty: the last piece of data ends the stream."""

    def keep(self, part: memoryview, read_bytes: int) -> None:
        """Keep a part that more will follow, in not much more memory than its length.

        read_bytes: what the socket gave at once, which a view of it keeps alive.
        """
        parts = self.parts
        parts.append(memoryview(bytes(part)) if len(part) * READ_SHARE_MIN < read_bytes else part)
        if len(parts) > PARTS_KEPT_MAX and self.buffered < len(parts) * PART_BYTES_MIN:
            self.parts = [memoryview(b"".join(parts))]


AnyStream = TypeVar("AnyStream", bound=Stream)
