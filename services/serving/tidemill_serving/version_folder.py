"""The folder that the model server reads: ``<folder>/<model>/<version>``, each version whole or absent."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidemill_contracts.errors import Unavailable

STAGING = ".staging"
ANNOUNCED = ".announced"


class VersionFolder:
    """Versions on disk, on one file system.

    Making it sweeps what an earlier agent left half-done in the staging folder. One agent owns the folder.

    Raises:
        Unavailable: the folder cannot be made or written; the text says why.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._staging = self._root / STAGING
        with _told(self._root):
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging.mkdir(parents=True, exist_ok=True)

    def base_path(self, model: str) -> Path:
        """The folder of a model's versions, as the server is told it; made if it is missing."""
        path = self._root / model
        with _told(path):
            path.mkdir(exist_ok=True)
        return path

    def version_path(self, model: str, version: int) -> Path:
        return self._root / model / str(version)

    def versions(self, model: str) -> set[int]:
        """The versions that are whole here."""
        path = self._root / model
        if not path.is_dir():
            return set()
        return {int(entry.name) for entry in os.scandir(path) if entry.name.isdecimal() and entry.is_dir()}

    @contextmanager
    def staged(self, model: str, version: int) -> Iterator[Path]:
        """An empty folder to fill; moved in place as the version when the context ends without an error.

        Everything is on the disk before the move, so a version that can be seen survives a power loss.

        Raises:
            Unavailable: the disk is full or cannot be written.
        """
        with _told(self._staging):
            path = Path(tempfile.mkdtemp(prefix=f"{model}-{version}-", dir=self._staging))
            try:
                yield path
                path.chmod(0o755)
                _sync(path)
                target = self.version_path(model, version)
                target.parent.mkdir(exist_ok=True)
                if not target.exists():
                    path.rename(target)
                    _sync_folder(target.parent)
            finally:
                shutil.rmtree(path, ignore_errors=True)

    def remove(self, model: str, version: int) -> None:
        """Remove a version: out of sight in one step, then file by file."""
        with _told(self._root):
            bin_path = Path(tempfile.mkdtemp(prefix=f"{model}-{version}-gone-", dir=self._staging))
            try:
                self.version_path(model, version).rename(bin_path / "version")
            except FileNotFoundError:
                pass
            finally:
                shutil.rmtree(bin_path, ignore_errors=True)

    def announced(self, model: str) -> int | None:
        """The stable version that was last announced from here."""
        try:
            return int((self._root / model / ANNOUNCED).read_text())
        except (OSError, ValueError):
            return None

    def remember_announced(self, model: str, version: int) -> None:
        """Keep, across restarts, that this version was announced."""
        with _told(self._root):
            descriptor, staged = tempfile.mkstemp(dir=self._staging)
            with os.fdopen(descriptor, "w") as file:
                file.write(str(version))
            os.rename(staged, self.base_path(model) / ANNOUNCED)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Failures of the disk, told as something to be mended and tried again."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the serving folder {path} does not work: {error.strerror or error}") from error


def _sync(folder: Path) -> None:
    for parent, _, files in os.walk(folder):
        for name in files:
            descriptor = os.open(Path(parent) / name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _sync_folder(Path(parent))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
