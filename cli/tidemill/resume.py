"""How far a publication came, so that a second try goes on where the first was stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path


@dataclass
class Resume:
    """A publication's position, in a file."""

    path: Path

    @classmethod
    def of(cls, folder: Path, *identity: object) -> Resume:
        """The place of the publication with this identity."""
        key = sha256(json.dumps([str(part) for part in identity]).encode()).hexdigest()[:16]
        return cls(folder / "publish" / f"{key}.json")

    def position(self) -> int:
        """How many samples were confirmed; 0 for a new publication."""
        try:
            return int(json.loads(self.path.read_text())["published"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def advance(self, published: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        staged = self.path.with_suffix(".new")
        staged.write_text(json.dumps({"published": published}))
        staged.replace(self.path)

    def finish(self) -> None:
        self.path.unlink(missing_ok=True)
