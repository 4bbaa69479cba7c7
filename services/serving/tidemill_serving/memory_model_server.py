"""A model server in one process's memory: for tests, and the plainest statement of the port."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tidemill_contracts.errors import InvalidInput

from tidemill_serving import wire
from tidemill_serving.engine.states import State
from tidemill_serving.model_server import ServedModel, ServerAway, ServerState


class MemoryModelServer:
    """Loads at once whatever folder exists, and refuses labels on what it has not.

    failing: when set, every call raises ServerAway, as a server does that is down.
    broken: paths of versions that end with an error instead of becoming available.
    slow: paths of versions that stay loading.
    answer: what Predict answers; by default nothing.
    """

    def __init__(self) -> None:
        self.failing = False
        self.broken: set[Path] = set()
        self.slow: set[Path] = set()
        self.answer: Callable[[Any], Any] = lambda request: wire.PredictResponse()
        self.reloads: list[list[ServedModel]] = []
        self._models: dict[str, ServedModel] = {}
        self._ended: dict[str, dict[int, ServerState]] = {}
        self._lock = threading.Lock()

    def restart(self) -> None:
        """Forget everything, as a process does."""
        with self._lock:
            self._models, self._ended = {}, {}

    def reload(self, models: Sequence[ServedModel]) -> None:
        self._ping()
        for model in models:
            answering = self._answering(model.name)
            for label, version in model.labels.items():
                if version not in answering:
                    raise InvalidInput(f"label {label} on version {version} of {model.name}, not available")
        with self._lock:
            self.reloads.append(list(models))
            wanted = {model.name: model for model in models}
            for name, before in self._models.items():
                kept = wanted[name].versions if name in wanted else frozenset()
                for version in before.versions - kept:
                    self._ended.setdefault(name, {})[version] = ServerState(State.END)
            self._models = wanted

    def states(self, model: str) -> dict[int, ServerState]:
        self._ping()
        with self._lock:
            states = dict(self._ended.get(model, {}))
            served = self._models.get(model)
            for version in served.versions if served else ():
                path = Path(served.base_path if served else "") / str(version)
                if path in self.broken:
                    states[version] = ServerState(State.END, "it is broken")
                elif path in self.slow or not path.is_dir():
                    states[version] = ServerState(State.LOADING)
                else:
                    states[version] = ServerState(State.AVAILABLE)
            return states

    def labelled(self, model: str, label: str) -> int | None:
        self._ping()
        with self._lock:
            served = self._models.get(model)
            return served.labels.get(label) if served else None

    def predict(self, request: Any) -> Any:
        self._ping()
        return self.answer(request)

    def _answering(self, model: str) -> set[int]:
        return {version for version, known in self.states(model).items() if known.state is State.AVAILABLE}

    def _ping(self) -> None:
        if self.failing:
            raise ServerAway("the model server does not answer")
