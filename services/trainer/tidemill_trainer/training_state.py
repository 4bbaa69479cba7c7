"""Keeps the state of a training on disk, so that a round that was killed goes on where it was."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tidemill_chassis.logs import get_logger
from tidemill_contracts.model_spec import ModelSpec
from tidemill_registry.records import RoundRecord, SampleRow

from tidemill_trainer.recipes.recipe import State

FOLDER = "checkpoints"

log = get_logger(__name__)


class TrainingState:
    """One file for one round's training; lost or broken, training begins at the beginning.

    The name holds a digest of YAML and samples, so that the state of another training is never taken for it.
    """

    def __init__(
        self, work: Path, spec: ModelSpec, round_: RoundRecord, train: Sequence[SampleRow], name: str
    ) -> None:
        digest = hashlib.sha256(f"{spec.model_dump_json()}\n{round_.champion_version}\n{name}\n".encode())
        for row in train:
            digest.update(f"{row.sample_id}\t{row.digest}\t{row.label}\n".encode())
        self._path = work / FOLDER / f"{round_.id}-{digest.hexdigest()[:16]}.npz"

    def write(self, state: State) -> None:
        """Replace what was kept, whole or not at all. A disk that is full costs the state, not the round."""
        part = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez(file, allow_pickle=False, **dict(state))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            log.warning("state_not_kept", error=error, path=str(self._path))

    def read(self) -> State | None:
        """What was kept; None if nothing was, or nothing that can be read."""
        try:
            with np.load(self._path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            log.warning("state_not_readable", error=error, path=str(self._path))
            return None


def forget_states(work: Path, round_id: str) -> None:
    """Remove what a round kept; it is over."""
    for path in (work / FOLDER).glob(f"{round_id}-*"):
        path.unlink(missing_ok=True)
