"""Decides which version to load or unload next, so that something always answers. No clock, no thread."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """Where a version is on its way. NEW: nothing done yet. BUSY: loading or unloading. FAILED: gave up."""

    NEW = "new"
    BUSY = "busy"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class Standing:
    """One version of a model as the decision sees it."""

    version: int
    aspired: bool
    stage: Stage


@dataclass(frozen=True)
class Load:
    """Load this version beside what serves."""

    version: int


@dataclass(frozen=True)
class Unload:
    """Take this version out of service, and free it when its last user is done."""

    version: int


def next_action(standings: Collection[Standing]) -> Load | Unload | None:
    """The one thing to do next for a model, or None.

    A version that is no longer wanted is unloaded, lowest first, only if a wanted one is ready, none is
    wanted at all, or more than one unwanted is ready: the last that answers stays until its successor does.
    Then the highest wanted version that is new is loaded.
    """
    unwanted = [standing.version for standing in standings if _is_unwanted(standing)]
    wanted = [standing for standing in standings if standing.aspired]
    any_wanted_ready = any(standing.stage is Stage.READY for standing in wanted)
    if unwanted and (any_wanted_ready or not wanted or len(unwanted) > 1):
        return Unload(min(unwanted))
    new = [standing.version for standing in wanted if standing.stage is Stage.NEW]
    return Load(max(new)) if new else None


def _is_unwanted(standing: Standing) -> bool:
    return not standing.aspired and standing.stage is Stage.READY
