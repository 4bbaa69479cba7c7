"""What a fault is, and what it may touch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tidemill_contracts.objects import ObjectStore

from tidemill.torture.crew import Crew
from tidemill.torture.ground import Ground, Need
from tidemill.torture.ledger import Ledger
from tidemill.torture.producer import Producer


@dataclass(frozen=True)
class Rig:
    """What a fault may touch. folder: a link to the folder with the objects, which can be turned away."""

    crew: Crew
    producer: Producer
    dice: Random
    ground: Ground
    ledger: Ledger
    store: ObjectStore
    folder: Path


@dataclass(frozen=True)
class Fault:
    """touches: two faults at once must not touch the same. lasts_s: how long it is kept up.

    needs: what not every ground offers.
    """

    name: str
    does: str
    touches: str
    inflict: Callable[[Rig], AbstractContextManager[None]]
    lasts_s: float = 0.3
    needs: Need = ""


def may_coincide(one: Fault, other: Fault) -> bool:
    """Whether the two can be inflicted at once."""
    return not set(one.touches.split()) & set(other.touches.split())
