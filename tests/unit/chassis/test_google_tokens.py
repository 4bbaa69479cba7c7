"""Only Google's token for our audience and account lets a push request in."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from google.auth import exceptions
from tidemill_chassis.adapters.google_tokens import FETCH_PAUSE_S, GoogleCertificates, TokenVerifier
from tidemill_chassis.push_access import Refused
from tidemill_contracts.errors import Unavailable

AUDIENCE = "https://persistor.example/push"
ACCOUNT = "push@tides.iam.gserviceaccount.com"
Verify = Callable[[str], None]


@pytest.fixture
def verify(google: Any) -> Verify:
    keys = {google.key_id: google.certificate}
    return TokenVerifier(audience=AUDIENCE, account=ACCOUNT, certificates=lambda _: keys)


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def test_the_right_token_is_let_in(verify: Verify, google: Any) -> None:
    verify(google.token())


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": time.time() - 600, "iat": time.time() - 4200}, "expired"),
        ({"iat": time.time() + 600}, "too early"),
        ({"exp": None}, "exp"),
        ({"exp": "tomorrow"}, "not valid"),
        ({"aud": "https://trainer.example/push"}, "audience"),
        ({"aud": AUDIENCE + "/"}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": [AUDIENCE]}, "not valid"),
        ({"iss": "https://accounts.example"}, "somebody else"),
        ({"iss": None}, "somebody else"),
        ({"email": "thief@tides.iam.gserviceaccount.com"}, "another account"),
        ({"email": None}, "another account"),
        ({"email_verified": False}, "another account"),
        ({"email_verified": None}, "another account"),
    ],
)
def test_a_token_with_another_claim_is_refused(
    verify: Verify, google: Any, claims: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        verify(google.token(**claims))


def test_a_token_that_another_key_signed_is_refused(verify: Verify, stranger: Any) -> None:
    with pytest.raises(Refused, match="signature"):
        verify(stranger.token())


def test_a_token_whose_claims_were_changed_after_signing_is_refused(verify: Verify, google: Any) -> None:
    header, payload, signature = google.token(email="thief@example.com").split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = ".".join([header, encoded({**claims, "email": ACCOUNT}), signature])

    with pytest.raises(Refused, match="signature"):
        verify(forged)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "ES256", ""])
def test_an_unsigned_token_or_one_of_another_algorithm_is_refused(
    verify: Verify, google: Any, algorithm: str
) -> None:
    _, payload, signature = google.token().split(".")
    header = encoded({"alg": algorithm, "typ": "JWT", "kid": google.key_id})

    for forged in (f"{header}.{payload}.", f"{header}.{payload}.{signature}"):
        with pytest.raises(Refused, match="not signed with RS256"):
            verify(forged)


def test_a_token_of_no_key_or_of_an_unknown_key_is_refused(verify: Verify, google: Any) -> None:
    _, payload, signature = google.token().split(".")
    with pytest.raises(Refused, match="key id other not found"):
        verify(f"{encoded({'alg': 'RS256', 'kid': 'other'})}.{payload}.{signature}")
    with pytest.raises(Refused, match="a key that has an id"):
        verify(f"{encoded({'alg': 'RS256'})}.{payload}.{signature}")


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b", "a.b.c", "é.é.é", "x" * 9000, "[].[].[]", "e30.e30.e30"]
)
def test_what_is_no_token_is_refused(verify: Verify, text: str) -> None:
    with pytest.raises(Refused):
        verify(text)


def test_no_part_of_a_token_stands_in_the_reason(verify: Verify) -> None:
    with pytest.raises(Refused) as refused:
        verify("c2VjcmV0.c2VjcmV0")

    assert "c2VjcmV0" not in str(refused.value)


class Certs:
    """Google's address of keys, played."""

    def __init__(self) -> None:
        self.keys = {"a": "pem"}
        self.status = 200
        self.down = False
        self.asked = 0
        self.now_s = 0.0

    def __call__(self, url: str, **_: object) -> Any:
        self.asked += 1
        if self.down:
            raise exceptions.TransportError("no route")
        headers = {"cache-control": "public, max-age=100, must-revalidate"}
        return SimpleNamespace(status=self.status, data=json.dumps(self.keys).encode(), headers=headers)


def test_keys_are_fetched_once_while_google_says_they_are_good() -> None:
    certs = Certs()
    kept = GoogleCertificates(certs, clock=lambda: certs.now_s)

    for certs.now_s in (0.0, 50.0, 99.0):
        assert kept("a") == {"a": "pem"}
    assert certs.asked == 1

    certs.now_s = 101.0
    kept("a")
    assert certs.asked == 2


def test_a_new_key_is_fetched_at_once_but_strangers_cannot_make_us_ask_for_ever() -> None:
    certs = Certs()
    kept = GoogleCertificates(certs, clock=lambda: certs.now_s)
    kept("a")
    certs.keys = {"b": "pem"}
    certs.now_s = FETCH_PAUSE_S

    assert "b" in kept("b")

    for _ in range(50):
        kept("invented")
    assert certs.asked == 2


@pytest.mark.parametrize("fault", ["down", "status"])
def test_a_token_waits_while_googles_keys_cannot_be_had(fault: str) -> None:
    certs = Certs()
    setattr(certs, fault, True if fault == "down" else 500)

    kept = GoogleCertificates(certs, clock=lambda: certs.now_s)
    for _ in range(20):
        with pytest.raises(Unavailable, match="Google's keys"):
            kept("a")
    assert certs.asked == 1

    certs.down, certs.status, certs.now_s = False, 200, FETCH_PAUSE_S
    assert kept("a") == {"a": "pem"}
