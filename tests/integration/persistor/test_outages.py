"""A full disk, a forbidden folder, a stopped broker: nothing lost, nothing among dead letters."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tidemill_chassis.adapters.files import FileStore
from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_contracts.bus import Backlog, Message
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.stored_batch import StoredMessage

Eventually = Callable[[Callable[[], bool]], None]
MakeMessage = Callable[..., Message]
RunWorker = Callable[..., Any]
Stored = Callable[[ObjectStore], list[StoredMessage]]
DONE = Backlog(waiting=0, leased=0)
NOBODY = 65534


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        said = "a small disk cannot be mounted here"
        pytest.fail(said) if os.environ.get("CI") == "true" else pytest.skip(said)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_a_full_disk_pauses_the_flow_until_there_is_room(
    small_disk: Path,
    run_worker: RunWorker,
    make_message: MakeMessage,
    stored: Stored,
    eventually: Eventually,
) -> None:
    bus, store = MemoryBus(), FileStore(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(200 * 1024))
    noise = random.Random(1).randbytes(60_000).hex()
    running = run_worker(bus, store)

    bus.publish("samples", [make_message("a", noise)])
    eventually(lambda: "the disk is full" in running.worker.outage.reason)
    leased = running.subscription.backlog().leased
    filler.unlink()
    eventually(lambda: running.subscription.backlog() == DONE)

    assert leased == 1
    assert [message.message_id for message in stored(store)] == ["1"]
    assert bus.published("samples.dead") == []


def test_a_forbidden_folder_pauses_the_flow_until_it_is_allowed(
    open_folder: Path,
    make_message: MakeMessage,
    run_worker: RunWorker,
    eventually: Eventually,
    stored: Stored,
) -> None:
    bus, store = MemoryBus(), FileStore(open_folder / "store")
    running = run_worker(bus, store)

    with no_permission(open_folder / "store"):
        bus.publish("samples", [make_message("a")])
        eventually(lambda: "no permission" in running.worker.outage.reason)
        leased = running.subscription.backlog().leased
    eventually(lambda: running.subscription.backlog() == DONE)

    assert leased == 1
    assert len(stored(store)) == 1
    assert bus.published("samples.dead") == []


class no_permission:
    """While open, this process cannot write below the folder: root becomes nobody, others lose the right."""

    def __init__(self, folder: Path) -> None:
        self._folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        self._root = os.geteuid() == 0

    def __enter__(self) -> None:
        if self._root:
            os.seteuid(NOBODY)
        for folder in [] if self._root else self._folders:
            folder.chmod(0o555)

    def __exit__(self, *_: object) -> None:
        if self._root:
            os.seteuid(0)
        for folder in [] if self._root else self._folders:
            folder.chmod(0o755)


def test_a_stopped_broker_loses_nothing_that_it_confirmed(
    redis_server: Any,
    tmp_path: Path,
    run_worker: RunWorker,
    make_message: MakeMessage,
    stored: Stored,
    eventually: Eventually,
) -> None:
    bus, store = RedisBus.from_url(redis_server.url), FileStore(tmp_path / "store")
    running = run_worker(bus, store)
    ids = bus.publish("samples", [make_message(f"before-{n}") for n in range(150)])

    redis_server.kill()
    eventually(lambda: running.worker.outage.reason != "")
    redis_server.start()
    ids += bus.publish("samples", [make_message(f"after-{n}") for n in range(150)])
    eventually(lambda: running.subscription.backlog() == DONE)

    assert {message.message_id for message in stored(store)} == set(ids)
    assert bus.subscribe("samples.dead", "test").backlog() == DONE
