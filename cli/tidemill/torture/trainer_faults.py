"""What is done to the trainer and to its database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tidemill_contracts.errors import Unavailable
from tidemill_registry.round_rows import unfinished_round

from tidemill.torture.crew import LEASE_S, POSTGRES, SECOND_TRAINER, TRAINER
from tidemill.torture.learner import MODEL
from tidemill.torture.rig import Fault, Rig

PHASES = ("reading", "training", "evaluating", "publishing")
PHASE_WAIT_S_MAX = 3.0
PHASE_LOOK_EVERY_S = 0.001
LOCK_WAIT_S_MAX = 5.0
SECOND_READY_S_MAX = 6.0


@contextmanager
def _kill_trainer(rig: Rig) -> Iterator[None]:
    rig.crew.kill(TRAINER)
    rig.crew.start(TRAINER)
    yield


@contextmanager
def _kill_in_round(rig: Rig) -> Iterator[None]:
    """Waits until a round is in a phase that the dice name; without one, the moment is as good as any."""
    wanted = rig.dice.choice(PHASES)
    end_s = time.monotonic() + PHASE_WAIT_S_MAX
    with rig.ground.registry() as registry, suppress(Unavailable):  # not migrated yet, or away
        while time.monotonic() < end_s:
            with registry.read() as sql:
                round_ = unfinished_round(sql, MODEL)
            if round_ is not None and round_.phase == wanted:
                break
            time.sleep(PHASE_LOOK_EVERY_S)
    with _kill_trainer(rig):
        yield


@contextmanager
def _freeze_trainer(rig: Rig) -> Iterator[None]:
    """Another trainer takes the model over; thawed, the first still believes that it is its own."""
    rig.crew.start(SECOND_TRAINER)
    with suppress(Unavailable):
        rig.crew.wait_ready([SECOND_TRAINER], limit_s=SECOND_READY_S_MAX)
    rig.crew.freeze(TRAINER)
    yield
    rig.crew.thaw(TRAINER)
    time.sleep(LEASE_S / 2)
    end = rig.crew.kill if rig.dice.random() < 0.5 else rig.crew.stop
    end(SECOND_TRAINER)


@contextmanager
def _database_down(rig: Rig) -> Iterator[None]:
    """PostgreSQL is killed and comes back; of SQLite somebody else holds the lock."""
    if rig.ground.own_postgres:
        rig.crew.kill(POSTGRES)
        yield
        rig.crew.start(POSTGRES)
        return
    holder = sqlite3.connect(rig.ground.sqlite_file, timeout=LOCK_WAIT_S_MAX, isolation_level=None)
    with suppress(sqlite3.OperationalError):  # whoever writes just now is not interrupted
        holder.execute("BEGIN EXCLUSIVE")
    yield
    holder.close()


TRAINER_FAULTS = (
    Fault("kill-trainer", "SIGKILL of the trainer at any moment", "trainer", _kill_trainer),
    Fault("kill-in-round", "SIGKILL of the trainer in one phase of a round", "trainer", _kill_in_round),
    Fault(
        "freeze-trainer",
        "SIGSTOP of the trainer past its lease while another takes over, then SIGCONT",
        "trainer",
        _freeze_trainer,
        1.6 * LEASE_S,
    ),
    Fault("database-down", "the registry's database is away or locked", "database", _database_down, 2.0),
)
