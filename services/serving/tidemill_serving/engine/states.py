"""What is told of each version by GetModelStatus, also after it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tidemill_serving.engine.status import StatusError

ENDED_VERSIONS_MAX = 100
"""How many ended versions of a model are remembered; the lowest are forgotten first."""


class State(IntEnum):
    """The numbers of ``ModelVersionStatus.State``."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionState:
    """A version's state; `error` says why it ended, if it failed."""

    state: State
    error: StatusError | None = None


class StateMonitor:
    """The last state of every version. Its owner holds the lock."""

    def __init__(self) -> None:
        self._states: dict[str, dict[int, VersionState]] = {}

    def record(self, name: str, version: int, state: State, error: StatusError | None = None) -> None:
        states = self._states.setdefault(name, {})
        states[version] = VersionState(state, error)
        ended = sorted(number for number, known in states.items() if known.state is State.END)
        for number in ended[: max(0, len(ended) - ENDED_VERSIONS_MAX)]:
            del states[number]

    def of_model(self, name: str) -> dict[int, VersionState]:
        """Version to state; empty for an unknown model."""
        return dict(self._states.get(name, {}))
