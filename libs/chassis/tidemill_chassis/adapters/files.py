"""The store port on a folder: atomic, durable, with generations.

The folder must be on one local file system that keeps nanosecond times and knows hard links and `flock`
(ext4, xfs, btrfs, overlay, tmpfs do). Start-up checks that it can be written.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import NoReturn, TypeVar

from tidemill_contracts.errors import Conflict, NotFound, Unavailable
from tidemill_contracts.objects import ABSENT, ObjectInfo, check_name

LOCK_COUNT = 256
_STAGING = ".staging"
_LOCKS = ".locks"
_PRIVATE = {_STAGING, _LOCKS}
STAGED_AGE_S_MAX = 3600.0
"""A staged file this old belongs to a writer that died; it is swept at the next start."""


T = TypeVar("T")


class FileStore:
    """Objects as files below a root.

    An object is written beside the tree, fsynced, then renamed into place, and its folder is fsynced: readers
    see all of it or nothing, and after `put` returns it survives a power loss. The generation is the file's
    modification time in nanoseconds, made to grow with every write under a lock.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root).absolute()
        try:
            for name in _PRIVATE:
                (self._root / name).mkdir(parents=True, exist_ok=True)
            self._sweep()
        except OSError as error:
            _unavailable(error, self._root)

    def put(self, name: str, data: bytes, *, if_generation: int | None = None) -> ObjectInfo:
        path = self._path(name)
        try:
            with self._locked(name):
                before = _generation(path)
                if if_generation is not None and if_generation != before:
                    raise Conflict(f"{name} is at generation {before}, not {if_generation}")
                generation = max(time.time_ns(), before + 1)
                self._write(path, data, generation)
        except OSError as error:
            _unavailable(error, path)
        return ObjectInfo(name, len(data), generation)

    def get(self, name: str) -> bytes:
        path = self._path(name)
        try:
            return self._surely(path.read_bytes)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise NotFound(f"there is no object {name}") from error
        except OSError as error:
            _unavailable(error, path)

    def stat(self, name: str) -> ObjectInfo:
        path = self._path(name)
        try:
            found = self._surely(path.stat)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"there is no object {name}") from error
        except OSError as error:
            _unavailable(error, path)
        if not path.is_file():
            raise NotFound(f"there is no object {name}")
        return ObjectInfo(name, found.st_size, found.st_mtime_ns)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder, _, _ = prefix.rpartition("/")
        try:
            self._check_here()
            yield from self._walk(self._root / folder if folder else self._root, prefix)
            self._check_here()
        except OSError as error:
            _unavailable(error, self._root)

    def delete(self, name: str) -> None:
        path = self._path(name)
        try:
            with self._locked(name):
                path.unlink(missing_ok=True)
        except NotADirectoryError:
            self._check_here()
        except OSError as error:
            _unavailable(error, path)

    def ping(self) -> None:
        try:
            with tempfile.NamedTemporaryFile(dir=self._root / _STAGING):
                pass
        except OSError as error:
            _unavailable(error, self._root)

    def _surely(self, look: Callable[[], T]) -> T:
        """Look, and again if nothing is there but the store was away meanwhile.

        Where a disk is not mounted there are no objects either: who took them for deleted would forget them.
        """
        try:
            return look()
        except (FileNotFoundError, NotADirectoryError):
            self._check_here()
            return look()

    def _check_here(self) -> None:
        """Raises Unavailable: the folder lacks what every store has from the start."""
        if not (self._root / _STAGING).is_dir():
            raise Unavailable(f"the store at {self._root} is not there: is its disk mounted?")

    def _path(self, name: str) -> Path:
        check_name(name)
        if name.split("/", 1)[0] in _PRIVATE:
            raise NotFound(f"{name} is not an object's name here")
        return self._root / name

    def _write(self, path: Path, data: bytes, generation: int) -> None:
        descriptor, staged = tempfile.mkstemp(dir=self._root / _STAGING)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.utime(file.fileno(), ns=(generation, generation))
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            self._place(staged, path)
        except BaseException:
            Path(staged).unlink(missing_ok=True)
            raise

    def _place(self, staged: str, path: Path) -> None:
        """Move the staged file to its name, durably: every folder whose entries changed is fsynced."""
        changed = [path.parent]
        while not changed[-1].is_dir():
            changed.append(changed[-1].parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.rename(staged, path)
        for folder in changed:
            _fsync_folder(folder)

    def _walk(self, folder: Path, prefix: str) -> Iterator[ObjectInfo]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name + "/" * entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            name = os.path.relpath(entry.path, self._root)
            if name in _PRIVATE:
                continue
            if entry.is_dir(follow_symlinks=False):
                if f"{name}/".startswith(prefix) or prefix.startswith(f"{name}/"):
                    yield from self._walk(Path(entry.path), prefix)
            elif name.startswith(prefix) and entry.is_file(follow_symlinks=False):
                try:
                    found = entry.stat()
                except FileNotFoundError:
                    continue  # deleted while we walked
                yield ObjectInfo(name, found.st_size, found.st_mtime_ns)

    def _sweep(self) -> None:
        limit_s = time.time() - STAGED_AGE_S_MAX
        for entry in os.scandir(self._root / _STAGING):
            if entry.stat().st_mtime < limit_s:
                Path(entry.path).unlink(missing_ok=True)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Alone, among all processes, with the names that share this name's lock."""
        number = int.from_bytes(blake2b(name.encode(), digest_size=2).digest(), "big") % LOCK_COUNT
        descriptor = os.open(self._root / _LOCKS / f"{number:03d}", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _generation(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota is used up: free some space",
    errno.EACCES: "no permission: let this user read and write the folder",
    errno.EPERM: "no permission: let this user read and write the folder",
    errno.EROFS: "the file system is read-only: mount it writable",
    errno.ENOTDIR: "a file stands where a folder should be: move it away",
}


def _unavailable(error: OSError, path: Path) -> NoReturn:
    remedy = _REMEDIES.get(error.errno or 0, error.strerror or str(error))
    raise Unavailable(f"the store at {path} does not work: {remedy}") from error
