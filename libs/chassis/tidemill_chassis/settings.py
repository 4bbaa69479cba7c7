"""Reads settings from the environment; what is wrong is said at start, with a valid example."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidemill_contracts.errors import InvalidInput

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"(\d+)\s*([a-z]*)", re.IGNORECASE)


class SettingsError(InvalidInput):
    """Fix the environment: a variable is missing or wrong."""


@dataclass(frozen=True)
class Address:
    """Where a server listens or is found. port 0: any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Environment:
    """Typed access to variables. An empty variable counts as missing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str, default: str | None = None, *, example: str = "") -> str:
        """The variable as it is.

        Raises:
            SettingsError: it is missing and has no default.
        """
        value = self._environ.get(name, "").strip()
        if value:
            return value
        if default is None:
            raise SettingsError(f"{name} is not set; set it, for example {name}={example}", field=name)
        return default

    def integer(self, name: str, default: int, *, minimum: int = 0, maximum: int = 2**63 - 1) -> int:
        """A whole number between the bounds; raises as `text` does."""
        return int(self._number(name, default, minimum, maximum, whole=True))

    def seconds(
        self, name: str, default: float, *, minimum: float = 0.0, maximum: float = 86_400.0 * 366
    ) -> float:
        """A duration in seconds between the bounds; raises as `text` does."""
        return self._number(name, default, minimum, maximum, whole=False)

    def size_bytes(self, name: str, default: int, *, minimum: int = 1) -> int:
        """A size such as ``64MiB`` or ``1000000``; raises as `text` does."""
        value = self.text(name, str(default))
        match = _SIZE.fullmatch(value)
        if match is None or match[2].lower() not in _UNITS:
            raise SettingsError(f"{name} must be a size such as 64MiB, not {value!r}", field=name)
        size = int(match[1]) * _UNITS[match[2].lower()]
        if size < minimum:
            raise SettingsError(f"{name} must be at least {minimum} bytes, not {value!r}", field=name)
        return size

    def address(self, name: str, default: str) -> Address:
        """``HOST:PORT``; raises as `text` does."""
        value = self.text(name, default)
        host, colon, port = value.rpartition(":")
        if not colon or not host or not port.isdigit() or int(port) > 65535:
            raise SettingsError(f"{name} must be HOST:PORT such as {default}, not {value!r}", field=name)
        return Address(host.strip("[]"), int(port))

    def path(self, name: str, default: str) -> Path:
        """A path, made absolute; raises as `text` does."""
        return Path(self.text(name, default)).expanduser().absolute()

    def flag(self, name: str, default: bool) -> bool:
        """``true`` or ``false``; raises as `text` does."""
        value = self.text(name, str(default)).lower()
        if value not in {"true", "false", "1", "0", "yes", "no"}:
            raise SettingsError(f"{name} must be true or false, not {value!r}", field=name)
        return value in {"true", "1", "yes"}

    def _number(self, name: str, default: float, minimum: float, maximum: float, *, whole: bool) -> float:
        value = self.text(name, str(default))
        try:
            number = int(value) if whole else float(value)
        except ValueError as error:
            kind = "a whole number" if whole else "a number"
            raise SettingsError(
                f"{name} must be {kind} such as {default}, not {value!r}", field=name
            ) from error
        if not minimum <= number <= maximum:
            said = f"{name} must be between {minimum} and {maximum}, not {value}"
            raise SettingsError(said, field=name)
        return number
