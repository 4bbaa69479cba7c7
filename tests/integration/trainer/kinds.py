"""What the tests of every kind of model share."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tidemill_trainer.recipes.recipe import Score, State


class Silent:
    """Watches a training and says nothing."""

    def __init__(self) -> None:
        self.scores: list[Score] = []

    def step(self) -> None:
        pass

    def epoch(self, number: int, tuning: Score, *, train_loss: float) -> None:
        self.scores.append(tuning)

    def keep(self, state: State) -> None:
        pass

    def kept(self) -> State | None:
        return None


def file_digests(folder: Path) -> dict[str, str]:
    """Every file below the folder, with the SHA-256 of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
