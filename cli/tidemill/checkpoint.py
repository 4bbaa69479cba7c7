"""How far a long command came, in a file, so that a second try goes on where the first was stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Checkpoint:
    """A JSON document that is replaced whole, or not at all."""

    path: Path

    @classmethod
    def of(cls, folder: Path, command: str, *identity: object) -> Checkpoint:
        """The place of this command with these arguments, below the platform's folder."""
        key = sha256(json.dumps([str(part) for part in identity]).encode()).hexdigest()[:16]
        return cls(folder / command / f"{key}.json")

    def load(self) -> dict[str, Any]:
        """What was saved last; empty for a new try, or where the file cannot be read."""
        try:
            found = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def save(self, state: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        staged = self.path.with_suffix(".new")
        staged.write_text(json.dumps(state))
        staged.replace(self.path)

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
