"""Until when an answer is waited for. A deadline is a time of the monotonic clock; None is no deadline."""

from __future__ import annotations

from time import monotonic

from tidemill_serving.engine.status import Code, StatusError


def deadline_in(seconds: float | None) -> float | None:
    """The deadline that lies so far ahead."""
    return None if seconds is None else monotonic() + seconds


def left_s(deadline_s: float | None) -> float | None:
    """Seconds until the deadline, always above 0; None for ever.

    Raises:
        StatusError: DEADLINE_EXCEEDED: it has passed.
    """
    if deadline_s is None:
        return None
    left = deadline_s - monotonic()
    if left <= 0:
        raise exceeded()
    return left


def exceeded() -> StatusError:
    """What is told to whoever still listens."""
    return StatusError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
