"""What the file adapter promises beyond the port: durability, honest errors, no stray files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tidemill_chassis.adapters.files import FileStore
from tidemill_contracts.errors import NotFound, Unavailable


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere; step down for a moment, so that permissions mean something."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def visible_files(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in found if ".locks" not in path.parts)


def test_a_folder_without_write_permission_is_refused_at_start(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    folder = tmp_path / "store"
    try:
        with as_nobody(), pytest.raises(Unavailable, match="permission"):
            FileStore(folder)
    finally:
        tmp_path.chmod(0o755)


def test_permission_lost_later_is_an_outage_not_a_crash(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    store.put("a", b"1")

    with as_nobody():
        for attempt in (lambda: store.put("a", b"2"), store.ping):
            with pytest.raises(Unavailable, match="permission"):
                attempt()

    assert store.get("a") == b"1"


def test_a_file_where_a_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("not a folder")

    with pytest.raises(Unavailable, match=r"a file stands where a folder should be|File exists"):
        FileStore(tmp_path / "store")


def test_a_full_disk_is_an_outage_that_leaves_nothing_behind(small_disk: Path) -> None:
    store = FileStore(small_disk / "store")
    store.put("kept", b"1")

    with pytest.raises(Unavailable, match="disk is full"):
        store.put("large", b"x" * 1_000_000)

    assert visible_files(small_disk / "store") == ["kept"]
    with pytest.raises(NotFound):
        store.get("large")
    assert store.put("small", b"2").size_bytes == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system: run as root to see a full disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_private_folders_hold_no_objects(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    store.put("a", b"1")

    assert [info.name for info in store.list("")] == ["a"]
    with pytest.raises(NotFound):
        store.get(".locks/000")


def test_a_dead_writers_leftovers_are_swept(tmp_path: Path) -> None:
    FileStore(tmp_path / "store")
    leftover = tmp_path / "store" / ".staging" / "old"
    leftover.write_bytes(b"half")
    os.utime(leftover, (1, 1))

    FileStore(tmp_path / "store")

    assert not leftover.exists()


@pytest.mark.parametrize("instead", ["nothing", "a file", "an empty folder"])
def test_a_store_that_is_away_is_no_store_without_objects(tmp_path: Path, instead: str) -> None:
    """An empty folder: the place of a disk that is not mounted."""
    folder, away = tmp_path / "store", tmp_path / "away"
    store = FileStore(folder)
    store.put("a/b", b"x")
    folder.rename(away)
    if instead == "a file":
        folder.touch()
    elif instead == "an empty folder":
        folder.mkdir()

    for look in (
        lambda: store.get("a/b"),
        lambda: store.stat("a/b"),
        lambda: list(store.list("a/")),
        lambda: list(store.list("")),
        lambda: store.put("a/c", b"y"),
        lambda: store.delete("a/b"),
        store.ping,
    ):
        with pytest.raises(Unavailable):
            look()

    if instead == "an empty folder":
        folder.rmdir()
    elif instead == "a file":
        folder.unlink()
    away.rename(folder)
    assert store.get("a/b") == b"x"
    with pytest.raises(NotFound):
        store.get("a/c")
