"""A store in one process's memory: for tests, and the plainest statement of what the port means."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from tidemill_contracts.errors import Conflict, NotFound, Unavailable
from tidemill_contracts.objects import ABSENT, ObjectInfo, check_name


class MemoryStore:
    """failing: when set, every call raises Unavailable, as a store does that is down."""

    def __init__(self, *, failing: bool = False) -> None:
        self.failing = failing
        self._objects: dict[str, tuple[bytes, int]] = {}
        self._writes = 0
        self._lock = threading.Lock()

    def put(self, name: str, data: bytes, *, if_generation: int | None = None) -> ObjectInfo:
        self.ping()
        check_name(name)
        with self._lock:
            _, generation = self._objects.get(name, (b"", ABSENT))
            if if_generation is not None and if_generation != generation:
                raise Conflict(f"{name} is at generation {generation}, not {if_generation}")
            self._writes += 1
            self._objects[name] = (bytes(data), self._writes)
            return ObjectInfo(name, len(data), self._writes)

    def get(self, name: str) -> bytes:
        return self._found(name)[0]

    def stat(self, name: str) -> ObjectInfo:
        data, generation = self._found(name)
        return ObjectInfo(name, len(data), generation)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self.ping()
        with self._lock:
            found = sorted((name, value) for name, value in self._objects.items() if name.startswith(prefix))
        for name, (data, generation) in found:
            yield ObjectInfo(name, len(data), generation)

    def delete(self, name: str) -> None:
        self.ping()
        with self._lock:
            self._objects.pop(name, None)

    def ping(self) -> None:
        if self.failing:
            raise Unavailable("the store does not answer")

    def _found(self, name: str) -> tuple[bytes, int]:
        self.ping()
        check_name(name)
        with self._lock:
            if name not in self._objects:
                raise NotFound(f"there is no object {name}")
            return self._objects[name]
