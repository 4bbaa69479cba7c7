"""Errors classed by remedy: what the one who meets them should do."""

from __future__ import annotations


class TidemillError(Exception):
    """Base of every error that Tidemill raises on purpose; its text is fit for a user."""


class Unavailable(TidemillError):
    """Try again: something that should answer did not.

    retry_after_s: seconds after which another try is worth it, where that is known.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    """Try again later: a queue is at its named limit and takes no more for now."""


class InvalidInput(TidemillError):
    """Fix the request: the same input will be refused again.

    field: where in the input the fault lies, such as ``samples[3].label``.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Malformed(InvalidInput):
    """Fix the request: it cannot even be parsed."""


class TooLarge(InvalidInput):
    """Fix the request: it is over a named limit of size."""


class UnsupportedType(InvalidInput):
    """Fix the request: its content type is not one that is taken here."""


class NotFound(TidemillError):
    """Fix the name: there is nothing of that name."""


class Conflict(TidemillError):
    """Read again and decide: somebody else changed it first."""


class Corrupt(TidemillError):
    """A person must look: what was stored is not what was written."""
