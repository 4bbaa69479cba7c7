"""Keeps versions in service: loads, switches and unloads them so that something always answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType

from tidemill_chassis.logs import get_logger

from tidemill_serving.engine.servable import Servable
from tidemill_serving.engine.states import State, StateMonitor, VersionState
from tidemill_serving.engine.status import StatusError, from_exception, not_found
from tidemill_serving.engine.transitions import Load, Stage, Standing, Unload, next_action

log = get_logger(__name__)

LOADS_AT_ONCE_MAX = 4
"""So many versions load side by side: one that takes long does not hold up the others."""

Loader = Callable[[str, int, Path], Servable]


@dataclass
class _Held:
    """A version between its appearance and its end. Guarded by the keeper's lock."""

    name: str
    version: int
    path: Path
    aspired: bool = True
    stage: Stage = Stage.NEW
    servable: Servable | None = None
    users: int = 0
    leaving: bool = False


class Handle:
    """Holds a version alive while the context is open, whatever happens to its model meanwhile."""

    def __init__(self, keeper: Keeper, held: _Held, servable: Servable) -> None:
        self._keeper = keeper
        self._held = held
        self.servable = servable
        self.version = held.version

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.release(self._held)


class Keeper:
    """Every version of every model of the server.

    load: makes the servable of a version's folder; may take long and may raise anything.
    retries_max: how often a failed load is tried again, `retry_interval_s` apart.
    """

    def __init__(self, load: Loader, *, retries_max: int, retry_interval_s: float) -> None:
        self._load = load
        self._retries_max = retries_max
        self._retry_interval_s = retry_interval_s
        self._models: dict[str, dict[int, _Held]] = {}
        self._monitor = StateMonitor()
        self._changed = threading.Condition()
        self._slots = threading.BoundedSemaphore(LOADS_AT_ONCE_MAX)
        self._closing = False

    def set_aspired(self, name: str, versions: Mapping[int, Path]) -> None:
        """From now on these versions of the model are wanted, and no others."""
        with self._changed:
            if self._closing:
                return
            held = self._models.setdefault(name, {})
            for version, each in list(held.items()):
                each.aspired = version in versions
                if not each.aspired and each.stage in {Stage.NEW, Stage.FAILED}:
                    del held[version]
                    if each.stage is Stage.NEW:
                        self._monitor.record(name, version, State.END)
            for version, path in versions.items():
                if version in held:
                    held[version].path = path
                else:
                    held[version] = _Held(name, version, path)
                    self._monitor.record(name, version, State.START)
            self._advance(name)

    def acquire(self, name: str, version: int | None = None) -> Handle:
        """A handle on a version, or on the highest that is ready.

        Raises:
            StatusError: NOT_FOUND: no such version is ready.
        """
        with self._changed:
            versions = self._models.get(name, {})
            number = version
            if number is None:
                number = max(
                    (each for each, held in versions.items() if held.stage is Stage.READY), default=0
                )
            held = versions.get(number)
            if held is None or held.stage is not Stage.READY or held.servable is None:
                wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise not_found(f"Servable not found for request: {wanted}")
            held.users += 1
            return Handle(self, held, held.servable)

    def release(self, held: _Held) -> None:
        """One user of the version is done."""
        with self._changed:
            held.users -= 1
            if held.leaving and held.users == 0:
                self._free(held)

    def states(self, name: str) -> dict[int, VersionState]:
        """Version to state, of every version that the model has or had."""
        with self._changed:
            return self._monitor.of_model(name)

    def names(self) -> list[str]:
        """Every model that has a version here now."""
        with self._changed:
            return sorted(name for name, held in self._models.items() if held)

    def wait_until(self, is_true: Callable[[], bool], seconds: float) -> bool:
        """Wait for a change of states that makes it true, at most `seconds`; say whether it is."""
        end_s = monotonic() + seconds
        with self._changed:
            while not is_true():
                left_s = end_s - monotonic()
                if left_s <= 0 or self._closing:
                    return False
                self._changed.wait(left_s)
            return True

    def close(self) -> None:
        """Stop loading and retrying. What serves is left as it is."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _advance(self, name: str) -> None:
        """Begin everything that may begin now. Hold the lock."""
        held = self._models[name]
        while (action := next_action([_standing(each) for each in held.values()])) is not None:
            each = held[action.version]
            each.stage = Stage.BUSY
            if isinstance(action, Load):
                starter = threading.Thread(
                    target=self._bring_up, args=(each,), name=f"load-{name}-{each.version}", daemon=True
                )
                starter.start()
            elif isinstance(action, Unload):
                self._take_down(each)
        self._changed.notify_all()

    def _bring_up(self, held: _Held) -> None:
        """Load a version, trying again as often as allowed; runs in a thread of its own."""
        for attempt in range(self._retries_max + 1):
            with self._slots:
                with self._changed:
                    if not held.aspired or self._closing:
                        break
                    self._monitor.record(held.name, held.version, State.LOADING)
                    self._changed.notify_all()
                started_s = monotonic()
                try:
                    servable = self._load(held.name, held.version, held.path)
                except Exception as error:  # noqa: BLE001  (a model may raise anything; the server lives on)
                    failure = from_exception(error)
                else:
                    self._ready(held, servable, monotonic() - started_s)
                    return
            log.warning(
                "load_failed", error=failure, model=held.name, version=held.version, attempt=attempt + 1
            )
            if attempt < self._retries_max:
                self.wait_until(lambda: not held.aspired, self._retry_interval_s)
            else:
                self._give_up(held, failure)
                return
        self._give_up(held, None)

    def _ready(self, held: _Held, servable: Servable, load_s: float) -> None:
        with self._changed:
            held.servable = servable
            held.stage = Stage.READY
            self._monitor.record(held.name, held.version, State.AVAILABLE)
            log.info("version_available", model=held.name, version=held.version, load_s=round(load_s, 3))
            self._advance(held.name)

    def _give_up(self, held: _Held, failure: StatusError | None) -> None:
        with self._changed:
            if failure is None and held.aspired and not self._closing:
                held.stage = Stage.NEW  # wanted again in the moment of giving up
            else:
                held.stage = Stage.FAILED
                self._monitor.record(held.name, held.version, State.END, failure)
            if not held.aspired:
                self._models[held.name].pop(held.version, None)
            self._advance(held.name)

    def _take_down(self, held: _Held) -> None:
        """Hand out no further handles; free the version with its last user. Hold the lock."""
        self._monitor.record(held.name, held.version, State.UNLOADING)
        held.leaving = True
        if held.users == 0:
            self._free(held)

    def _free(self, held: _Held) -> None:
        """Close the servable, outside the lock; hold the lock when calling."""
        threading.Thread(target=self._close, args=(held,), name=f"unload-{held.name}", daemon=True).start()

    def _close(self, held: _Held) -> None:
        servable, held.servable = held.servable, None
        if servable is not None:
            try:
                servable.close()
            except Exception as error:  # noqa: BLE001  (it is gone for us either way)
                log.error("unload_failed", error=error, model=held.name, version=held.version)
        with self._changed:
            self._monitor.record(held.name, held.version, State.END)
            held_of_model = self._models[held.name]
            held_of_model.pop(held.version, None)
            if held.aspired:  # wanted again while it was leaving: begin anew
                held_of_model[held.version] = _Held(held.name, held.version, held.path)
                self._monitor.record(held.name, held.version, State.START)
            log.info("version_unloaded", model=held.name, version=held.version)
            self._advance(held.name)


def _standing(held: _Held) -> Standing:
    return Standing(held.version, held.aspired, held.stage)
