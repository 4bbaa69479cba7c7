"""Bits that turn and files that end in the middle, after they were safely stored."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from tidemill_contracts.errors import TidemillError
from tidemill_contracts.layout import batch_prefix
from tidemill_contracts.samples import SPLITS

from tidemill.torture.audit import ids_in
from tidemill.torture.messages import DATASET
from tidemill.torture.rig import Fault, Rig

OBJECTS_DAMAGED = 3
AMONG_LATEST = 20


@contextmanager
def _damage(rig: Rig) -> Iterator[None]:
    """Spoil a few of the latest objects, and have the samples that lay in them published again.

    Without a second copy nobody could bring them back. What must hold is that the damage is found, that
    nothing spoilt trains, and that the second copy takes the first one's place.
    """
    lost: set[str] = set()
    for name in _latest(rig):
        ids = ids_in(rig.store, name)
        if ids and _spoil(rig, name):
            lost |= ids
    yield
    if lost:
        rig.producer.ask_for(sorted(lost))


def _latest(rig: Rig) -> list[str]:
    """A few objects, chosen among those that were written last."""
    try:
        found = [info.name for split in SPLITS for info in rig.store.list(batch_prefix(DATASET, split))]
        found.sort(key=lambda name: (rig.folder / name).stat().st_mtime_ns)
    except (TidemillError, OSError):  # the store is away at the moment
        return []
    latest = found[-AMONG_LATEST:]
    return rig.dice.sample(latest, min(OBJECTS_DAMAGED, len(latest)))


def _spoil(rig: Rig, name: str) -> bool:
    """Write the object down as damaged, then damage it; whether that could be done."""
    path = rig.folder / name
    try:
        whole = path.read_bytes()
        rig.ledger.note_damage([name])
        spoilt = path.with_name(f".{path.name}.spoilt")
        spoilt.write_bytes(spoil(whole, rig.dice))
        os.replace(spoilt, path)
    except OSError:
        return False
    return True


def spoil(data: bytes, dice: Random) -> bytes:
    """The bytes with one bit turned, or cut at some point; never as they were."""
    place = dice.randrange(len(data))
    if dice.random() < 0.5:
        return data[:place]
    return data[:place] + bytes([data[place] ^ (1 << dice.randrange(8))]) + data[place + 1 :]


DAMAGE = Fault(
    "damage",
    "stored objects get a bit turned or lose their end; their samples are published again",
    "store",
    _damage,
    0.5,
    "own folder",
)
