"""What the producer tried to publish, and what the bus confirmed: on disk before anything else happens."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


class Ledger:
    """Two lists of sample ids, one of poison, one of damage: append-only files, fsynced at every entry.

    Ids are written to `attempted` before they are published, to `confirmed` only once the bus has said yes.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = {
            name: (folder / f"{name}.txt").open("a", encoding="ascii")
            for name in ("attempted", "confirmed", "poison", "damaged")
        }

    def attempt(self, sample_ids: Iterable[str]) -> None:
        self._append("attempted", sample_ids)

    def confirm(self, sample_ids: Iterable[str]) -> None:
        self._append("confirmed", sample_ids)

    def confirm_poison(self, poison_ids: Iterable[str]) -> None:
        """The bus has these messages, which nobody may ever keep."""
        self._append("poison", poison_ids)

    def note_damage(self, objects: Iterable[str]) -> None:
        """These objects are about to be spoilt."""
        self._append("damaged", objects)

    def read(self, name: str) -> set[str]:
        """All of one list, from the disk."""
        return set(Path(self._files[name].name).read_text("ascii").split())

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _append(self, name: str, lines: Iterable[str]) -> None:
        file = self._files[name]
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
