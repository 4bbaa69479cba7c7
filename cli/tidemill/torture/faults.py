"""What is done to the platform. Each fault is a context: it is inflicted at entry and mended at exit."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from tidemill_contracts.errors import TidemillError, Unavailable
from tidemill_contracts.layout import batch_prefix
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.samples import SPLITS

from tidemill.torture.crew import LEASE_S, PERSISTOR, REDIS, SECOND
from tidemill.torture.damage import DAMAGE
from tidemill.torture.messages import DATASET
from tidemill.torture.rig import Fault, Rig
from tidemill.torture.stream_faults import STREAM_FAULTS
from tidemill.torture.trainer_faults import TRAINER_FAULTS

WRITE_WAIT_S_MAX = 3.0
FILE_BYTES_MAX = 4096
SECOND_READY_S_MAX = 3.0


@contextmanager
def _kill_persistor(rig: Rig) -> Iterator[None]:
    rig.crew.kill(PERSISTOR)
    rig.crew.start(PERSISTOR)
    yield


@contextmanager
def _kill_after_write(rig: Rig) -> Iterator[None]:
    """Waits for the next object to appear: what follows in the persistor is announcing and acknowledging."""
    before = _count(rig.store)
    end_s = time.monotonic() + WRITE_WAIT_S_MAX
    while _count(rig.store) == before and time.monotonic() < end_s:
        time.sleep(0.0005)
    with _kill_persistor(rig):
        yield


@contextmanager
def _terminate_persistor(rig: Rig) -> Iterator[None]:
    rig.crew.stop(PERSISTOR)
    rig.crew.start(PERSISTOR)
    yield


@contextmanager
def _freeze_persistor(rig: Rig) -> Iterator[None]:
    with _second_persistor(rig):
        rig.crew.freeze(PERSISTOR)
        yield
        rig.crew.thaw(PERSISTOR)
        time.sleep(LEASE_S / 2)  # both believe that the same messages are theirs


@contextmanager
def _second_persistor(rig: Rig) -> Iterator[None]:
    rig.crew.start(SECOND)
    with suppress(Unavailable):  # it cannot be ready while another fault keeps the store or the broker away
        rig.crew.wait_ready([SECOND], limit_s=SECOND_READY_S_MAX)
    yield
    end = rig.crew.kill if rig.dice.random() < 0.5 else rig.crew.stop
    end(SECOND)


@contextmanager
def _kill_redis(rig: Rig) -> Iterator[None]:
    rig.crew.kill(REDIS)
    yield
    rig.crew.start(REDIS)


@contextmanager
def _freeze_redis(rig: Rig) -> Iterator[None]:
    rig.crew.freeze(REDIS)
    yield
    rig.crew.thaw(REDIS)


@contextmanager
def _restart_all(rig: Rig) -> Iterator[None]:
    rig.crew.stop(PERSISTOR, REDIS)
    yield
    rig.crew.start(REDIS, PERSISTOR)


@contextmanager
def _store_down(rig: Rig) -> Iterator[None]:
    """In the folder's place stands a file, as when a disk is not mounted but its place cannot be written."""
    where = rig.folder.resolve()
    away = where.with_name("store-away")
    away.touch()
    _turn(rig.folder, away)
    yield
    _turn(rig.folder, where)


@contextmanager
def _disk_full(rig: Rig) -> Iterator[None]:
    """No file of the persistors may grow past a few bytes: writes end in the middle, as on a full disk."""
    pids = rig.crew.persistor_pids()
    limit = rig.dice.randrange(FILE_BYTES_MAX)
    for pid in pids:
        _limit_files(pid, limit)
    yield
    for pid in pids:
        _limit_files(pid, resource.RLIM_INFINITY)


@contextmanager
def _store_errs(rig: Rig) -> Iterator[None]:
    """A third of all calls fail, in every way in which a service does."""
    statuses = [{"kind": "status", "status": status, "share": 0.08} for status in (429, 500, 503)]
    rig.ground.set_store_faults([*statuses, {"kind": "reset", "share": 0.08}], rig.dice.randrange(10**6))
    yield
    rig.ground.set_store_faults([], 0)


@contextmanager
def _store_lies(rig: Rig) -> Iterator[None]:
    """Half of the writes are done and not answered: to try them again must not look like another's write."""
    lost = {"operation": "put", "kind": "lost_answer", "share": 0.5}
    slow = {"operation": "put", "kind": "slow", "delay_s": 1.5 * LEASE_S, "share": 0.3}
    rig.ground.set_store_faults([lost, slow], rig.dice.randrange(10**6))
    yield
    rig.ground.set_store_faults([], 0)


@contextmanager
def _store_refuses(rig: Rig) -> Iterator[None]:
    rig.ground.set_store_faults([{"kind": "status", "status": 503}], 0)
    yield
    rig.ground.set_store_faults([], 0)


FAULTS: tuple[Fault, ...] = (
    Fault("kill-persistor", "SIGKILL at any moment", "persistor", _kill_persistor),
    Fault(
        "kill-after-write",
        "SIGKILL between the write and the acknowledgement",
        "persistor",
        _kill_after_write,
    ),
    Fault("stop-persistor", "SIGTERM under load", "persistor", _terminate_persistor),
    Fault(
        "freeze-persistor",
        "SIGSTOP past the acknowledgement deadline while another takes over, then SIGCONT",
        "persistor",
        _freeze_persistor,
        2.2 * LEASE_S,
    ),
    Fault(
        "two-persistors",
        "a second one at once, which is then killed or stopped",
        "persistor",
        _second_persistor,
        1.0,
    ),
    Fault("kill-redis", "SIGKILL of the broker, down for a while", "redis", _kill_redis, 0.7, "own broker"),
    Fault(
        "freeze-redis", "the broker does not answer for a while", "redis", _freeze_redis, 1.5, "own broker"
    ),
    Fault(
        "restart", "everything stops and starts again", "redis persistor", _restart_all, needs="own broker"
    ),
    Fault("store-down", "the store's folder is away", "store", _store_down, 1.5, "own folder"),
    Fault("disk-full", "writes to the store end in the middle", "store", _disk_full, 1.5, "own folder"),
    Fault("store-errors", "a third of the calls fail", "store", _store_errs, 3.0, "faulty store"),
    Fault("store-lies", "half of the writes are not answered", "store", _store_lies, 3.0, "faulty store"),
    Fault("store-refuses", "every call is answered with 503", "store", _store_refuses, 2.0, "faulty store"),
    *STREAM_FAULTS,
    *TRAINER_FAULTS,
    DAMAGE,
)


def _count(store: ObjectStore) -> int:
    """How many objects of this hour there are; 0 while the store is away."""
    hour = f"{datetime.now(UTC):%Y/%m/%d/%H}/"
    try:
        return sum(1 for split in SPLITS for _ in store.list(batch_prefix(DATASET, split) + hour))
    except TidemillError:
        return 0


def _turn(link: Path, target: Path) -> None:
    """Let the link point elsewhere from one moment to the next."""
    fresh = link.with_name("link")
    fresh.symlink_to(target)
    fresh.replace(link)


def _limit_files(pid: int, size_bytes: int) -> None:
    """Bound the size to which the process may write any file: a write beyond it ends in the middle."""
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        soft = hard if size_bytes == resource.RLIM_INFINITY else size_bytes
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    except ProcessLookupError:
        return  # it died of another fault meanwhile
