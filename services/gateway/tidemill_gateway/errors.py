"""Errors that only a gateway meets, beside those that all services share."""

from __future__ import annotations

from tidemill_contracts.errors import Corrupt, InvalidInput, Malformed, NotFound, Unavailable


class VersionGone(NotFound):
    """Serving no longer has the version that was resolved a moment ago: resolve again."""


class DeadlineExceeded(Unavailable):
    """Try again with more time: the answer did not come before the request's deadline."""


class NoSignature(Malformed):
    """Fix the signature's name: the version has none of that name. name: the one that was asked for."""

    def __init__(self, message: str, *, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class Unsupported(InvalidInput):
    """Fix the request: what it asks is right, but nobody answers it here."""


class ModelFailed(Corrupt):
    """A person must look: the model itself failed on this request."""


class Unauthenticated(InvalidInput):
    """Show a key: none was shown, or nobody knows it."""


class Forbidden(InvalidInput):
    """Ask with another key: this one may not do that."""
