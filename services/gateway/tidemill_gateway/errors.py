"""Errors that only a gateway meets, beside those that all services share."""

from __future__ import annotations

from tidemill_contracts.errors import Corrupt, InvalidInput, NotFound, Unavailable


class VersionGone(NotFound):
    """Serving no longer has the version that was resolved a moment ago: resolve again."""


class DeadlineExceeded(Unavailable):
    """Try again with more time: the answer did not come before the request's deadline."""


class Unsupported(InvalidInput):
    """Fix the request: what it asks is right, but nobody answers it here."""


class ModelFailed(Corrupt):
    """A person must look: the model itself failed on this request."""


class Unauthenticated(InvalidInput):
    """Show a key: none was shown, or nobody knows it."""


class Forbidden(InvalidInput):
    """Ask with another key: this one may not do that."""
