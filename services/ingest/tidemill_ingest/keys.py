"""Who may publish: keys with a name, known only by their SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path

from flask import Flask, request
from tidemill_chassis.settings import SettingsError
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

VARIABLE = "TIDEMILL_INGEST_KEYS"
KEYS_MAX = 256
DOOR = "/v1/"
"""What is under it wants a key; health and metrics never do."""
_LINE = re.compile(r"(?P<name>[A-Za-z0-9._@-]{1,64})\s+publish\s+(?P<digest>[0-9a-f]{64})")


def read_keys(path: Path) -> Mapping[str, bytes]:
    """SHA-256 of each key by its name; of a file with a line ``NAME publish SHA256`` each, `#` for comments.

    Raises:
        SettingsError: the file cannot be read, or a line is wrong.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{VARIABLE}: {path} cannot be read: {error}", field=VARIABLE) from error
    keys: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            example = "camera publish <64 hexadecimal digits: the key's SHA-256>"
            raise SettingsError(
                f"{VARIABLE}: {path} line {number} must be such as: {example}", field=VARIABLE
            )
        keys[match["name"]] = bytes.fromhex(match["digest"])
    if not 1 <= len(keys) <= KEYS_MAX:
        said = f"{VARIABLE}: {path} must hold 1 to {KEYS_MAX} keys, not {len(keys)}"
        raise SettingsError(said, field=VARIABLE)
    return keys


def lock(app: Flask, keys: Mapping[str, bytes]) -> None:
    """Answer 401 to whoever asks under DOOR without a key, before a byte of the body is read."""

    def check() -> None:
        if not request.path.startswith(DOOR):
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        shown = token.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")
        if not shown:
            raise _refusal("show a key: Authorization: Bearer KEY, or X-API-Key: KEY")
        digest = hashlib.sha256(shown.encode("utf-8", "surrogatepass")).digest()
        # Every key is compared, however early one fits: time tells nothing.
        known = [hmac.compare_digest(digest, each) for each in keys.values()]
        if True not in known:
            raise _refusal("nobody knows this key")

    app.before_request(check)


def _refusal(message: str) -> Unauthorized:
    return Unauthorized(message, www_authenticate=WWWAuthenticate("bearer"))
