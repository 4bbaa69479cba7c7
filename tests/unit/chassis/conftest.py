"""Keys and tokens of a Google of the tests' own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth import crypt, jwt

AUDIENCE = "https://persistor.example/push"
ACCOUNT = "push@tides.iam.gserviceaccount.com"
SIZE_BITS = 2048


class Signer:
    """An RSA key with a certificate, as Google publishes its own."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=SIZE_BITS)
        pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        self._signer = crypt.RSASigner.from_string(pem, key_id)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens of the tests")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = made.public_bytes(serialization.Encoding.PEM).decode()

    def token(self, **claims: Any) -> str:
        """A token as Pub/Sub sends it; `claims` go over its own, None takes one away."""
        now = int(time.time())
        payload = {
            "iss": "https://accounts.google.com",
            "aud": AUDIENCE,
            "azp": "113774264463038321964",
            "sub": "113774264463038321964",
            "email": ACCOUNT,
            "email_verified": True,
            "iat": now - 10,
            "exp": now + 3590,
            **claims,
        }
        kept = {name: value for name, value in payload.items() if value is not None}
        made: bytes = jwt.encode(self._signer, kept, key_id=self.key_id)
        return made.decode()


@pytest.fixture(scope="session")
def google() -> Signer:
    """Who signs what is right."""
    return Signer("right")


@pytest.fixture(scope="session")
def stranger() -> Signer:
    """Who signs with a key of his own under Google's key id."""
    return Signer("right")


@pytest.fixture
def push_body() -> Callable[..., bytes]:
    """``push_body(data, **message)``: the body of a push request with one message."""

    def make(data: str = "eyJhIjogMX0=", **message: Any) -> bytes:
        wired = {
            "data": data,
            "messageId": "1",
            "message_id": "1",
            "publishTime": "2026-05-04T12:30:00.5Z",
            "publish_time": "2026-05-04T12:30:00.5Z",
            "attributes": {"ce-type": "x"},
            **message,
        }
        return json.dumps({"message": wired, "subscription": "projects/p/subscriptions/s"}).encode()

    return make
