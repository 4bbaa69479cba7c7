"""Who may ask: keys with a name and a role, known only by their SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path

from tidemill_chassis.settings import SettingsError

from tidemill_gateway.errors import Forbidden, Unauthenticated

KEYS_MAX = 256
PREDICT, OPERATE = "predict", "operate"
ROLES = (PREDICT, OPERATE)
_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9._@-]{1,64})\s+(?P<role>\w+)\s+(?P<digest>[0-9a-f]{64})(\s+(?P<rate>\d+)/s)?"
)


@dataclass(frozen=True)
class Key:
    """A caller's key. `operate` may all that `predict` may, and change labels and traffic.

    per_s: requests a second; None for as many as it likes.
    """

    name: str
    role: str
    digest: bytes
    per_s: float | None = None


class Access:
    """Checks keys. Without any key set up, everybody may do everything, namelessly."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._keys = keys

    @property
    def is_open(self) -> bool:
        """Whether no keys are set up."""
        return not self._keys

    def check(self, authorization: str, api_key: str, role: str) -> str:
        """The caller's name; empty where no keys are set up.

        authorization: ``Bearer KEY``; api_key: the key alone; either may be empty.

        Raises:
            Unauthenticated: no key, or one that nobody knows.
            Forbidden: the key's role is not enough.
        """
        if not self._keys:
            return ""
        scheme, _, token = authorization.partition(" ")
        shown = token.strip() if scheme.lower() == "bearer" else api_key
        if not shown:
            raise Unauthenticated("show a key: Authorization: Bearer KEY, or X-API-Key: KEY")
        digest = hashlib.sha256(shown.encode("utf-8", "surrogatepass")).digest()
        found = None
        for key in self._keys:  # every key is compared, however early one fits: time tells nothing
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is None:
            raise Unauthenticated("nobody knows this key")
        if role == OPERATE and found.role != OPERATE:
            raise Forbidden(f"the key of {found.name} may predict, not operate")
        return found.name


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file: a line ``NAME ROLE SHA256 [RATE/s]`` each; empty and ``#`` lines are passed over.

    Raises:
        SettingsError: the file cannot be read, or a line is wrong.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"TIDEMILL_GATEWAY_KEYS: {path} cannot be read: {error}") from error
    keys = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match["role"] not in ROLES:
            example = "alice operate <64 hexadecimal digits: the key's SHA-256>"
            raise SettingsError(f"TIDEMILL_GATEWAY_KEYS: {path} line {number} must be such as: {example}")
        keys.append(Key(match["name"], match["role"], bytes.fromhex(match["digest"]), _rate(match["rate"])))
    if not keys or len(keys) > KEYS_MAX:
        raise SettingsError(f"TIDEMILL_GATEWAY_KEYS: {path} must hold 1 to {KEYS_MAX} keys, not {len(keys)}")
    return tuple(keys)


def _rate(text: str | None) -> float | None:
    return None if text is None else max(1.0, float(text))
