"""Verifies the OIDC tokens that Google signs for push subscriptions.

https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions says which claims a token has; the keys
that sign it are published at CERTS_URL and change every few days.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from google.auth import exceptions, jwt
from google.auth.transport.requests import Request
from tidemill_contracts.errors import Unavailable

from tidemill_chassis.logs import get_logger
from tidemill_chassis.push_access import Refused

log = get_logger(__name__)

CERTS_URL = "https://www.googleapis.com/oauth2/v1/certs"
ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})
ALGORITHM = "RS256"
CLOCK_SKEW_S = 30
TOKEN_LENGTH_MAX = 8192
FETCH_TIMEOUT_S = 5.0
FETCH_PAUSE_S = 10.0
"""Keys are fetched, or tried to be, not more often than this, however many tokens of unknown keys come."""
KEEP_S_DEFAULT = 3600.0

Certificates = Mapping[str, str]
"""PEM certificates by key id."""


class TokenVerifier:
    """Call it with a token. certificates: those of Google for a key id; other ones in tests."""

    def __init__(self, *, audience: str, account: str, certificates: Callable[[str], Certificates]) -> None:
        self._audience = audience
        self._account = account
        self._certificates = certificates

    def __call__(self, token: str) -> None:
        """Return if Google signed the token for our audience and account, and it is not past its time.

        Raises:
            Refused: it is not such a token.
            Unavailable: Google's keys cannot be had.
        """
        claims = self._claims(token)
        if claims.get("iss") not in ISSUERS:
            raise Refused("the token was issued by somebody else than Google")
        if claims.get("email") != self._account or claims.get("email_verified") is not True:
            raise Refused("the token is of another account")

    def _claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > TOKEN_LENGTH_MAX or not token.isascii():
            raise Refused("this is no token")
        try:
            header = jwt.decode_header(token)
            if header.get("alg") != ALGORITHM or not isinstance(header.get("kid"), str):
                raise Refused(f"the token is not signed with {ALGORITHM} by a key that has an id")
            certificates = self._certificates(header["kid"])
            claims: Mapping[str, Any] = jwt.decode(
                token, certs=certificates, audience=self._audience, clock_skew_in_seconds=CLOCK_SKEW_S
            )
        except (exceptions.GoogleAuthError, ValueError, TypeError) as error:
            raise Refused(f"the token is not valid: {_first_line(error)}") from error
        return claims


def _first_line(error: Exception) -> str:
    """What is wrong, without the token's own text, which may stand behind a colon."""
    return re.split(r"[:\n]", str(error), maxsplit=1)[0][:200]


class GoogleCertificates:
    """Google's certificates, kept as long as Google says, and fetched anew for a key id not among them."""

    def __init__(
        self, fetch: Callable[..., Any] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch or Request()
        self._clock = clock
        self._lock = threading.Lock()
        self._certificates: dict[str, str] = {}
        self._good_until_s = float("-inf")
        self._tried_s = float("-inf")

    def __call__(self, key_id: str) -> Certificates:
        """The certificates, as fresh as the key id needs them.

        Raises:
            Unavailable: Google does not answer, and none are kept that are still good.
        """
        with self._lock:
            now_s = self._clock()
            stale = now_s >= self._good_until_s
            if stale or key_id not in self._certificates:
                if now_s - self._tried_s >= FETCH_PAUSE_S:
                    self._renew(now_s)
                elif stale:
                    raise Unavailable("Google's keys could not be fetched just now")
            return self._certificates

    def _renew(self, now_s: float) -> None:
        self._tried_s = now_s
        try:
            answer = self._fetch(CERTS_URL, method="GET", timeout=FETCH_TIMEOUT_S)
        except exceptions.TransportError as error:
            log.warning("keys_not_fetched", error=error, url=CERTS_URL)
            raise Unavailable("Google's keys cannot be fetched") from error
        if answer.status != 200:
            raise Unavailable(f"Google's keys cannot be fetched: {CERTS_URL} answers {answer.status}")
        self._certificates = _parsed(answer.data)
        age = re.search(r"max-age=(\d+)", answer.headers.get("cache-control", ""))
        self._good_until_s = now_s + (float(age[1]) if age else KEEP_S_DEFAULT)


def _parsed(data: bytes) -> dict[str, str]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise Unavailable(f"{CERTS_URL} did not answer with keys") from error
    if not isinstance(found, dict):
        raise Unavailable(f"{CERTS_URL} did not answer with keys")
    return {str(key): str(value) for key, value in found.items()}
