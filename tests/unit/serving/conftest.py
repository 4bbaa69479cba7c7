"""A store, a bus and a model server in memory, a folder on disk, and versions to publish."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tidemill_contracts.envelope import read_any
from tidemill_contracts.events import Event
from tidemill_contracts.layout import manifest_name, version_prefix
from tidemill_contracts.manifest import (
    Labels,
    Manifest,
    StoredFile,
    change_labels,
    dump_document,
    read_labels,
)
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_serving.configuration import Configuration
from tidemill_serving.handlers import ModelRollout
from tidemill_serving.memory_model_server import MemoryModelServer
from tidemill_serving.ports import Ports
from tidemill_serving.quorum import Quorum
from tidemill_serving.version_folder import VersionFolder

FILES = {"saved_model.pb": b"graph", "variables/variables.index": b"numbers"}


@dataclass
class House:
    """Everything that one agent sees, with the model ``digits``."""

    root: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    bus: MemoryBus = field(default_factory=MemoryBus)
    server: MemoryModelServer = field(default_factory=MemoryModelServer)
    now_s: float = 0.0
    model: str = "digits"

    def __post_init__(self) -> None:
        self.folder = VersionFolder(self.root)
        self.rollout = self.agent()

    def agent(self, **changed: Any) -> ModelRollout:
        """An agent that was just started."""
        configuration = Configuration(self.server)
        ports = Ports(
            self.store, self.bus, self.server, configuration, VersionFolder(self.root), lambda: self.now_s
        )
        given = {"keep_versions": 2, "load_s_max": 60.0, "quorum": self.quorum(), **changed}
        self.rollout = ModelRollout(ports, self.model, **given)
        return self.rollout

    def quorum(self, replica: str = "a", replicas: int = 1) -> Quorum:
        return Quorum(self.store, self.model, replica=replica, replicas=replicas, clock=lambda: self.now_s)

    def publish(self, version: int, files: dict[str, bytes] | None = None, *, label: bool = True) -> Manifest:
        """A whole version in the store, labelled candidate."""
        content = FILES if files is None else files
        manifest = Manifest(
            model=self.model,
            version=version,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            round_id=f"round-{version}",
            files=tuple(
                StoredFile(path=path, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
                for path, data in content.items()
            ),
        )
        for path, data in content.items():
            self.store.put(version_prefix(self.model, version) + path, data)
        self.store.put(manifest_name(self.model, version), dump_document(manifest))
        if label:
            self.label(candidate=version)
        return manifest

    def label(self, **labels: int | None) -> None:
        change_labels(self.store, self.model, lambda known: known.model_copy(update=labels))

    @property
    def labels(self) -> Labels:
        return read_labels(self.store, self.model)[0]

    @property
    def events(self) -> list[Event]:
        """What the agent said, in order."""
        return [read_any(message) for message in self.bus.published("serving")]

    def steps(self, count: int = 4) -> None:
        """Step as the loop would, until nothing is left to do."""
        for _ in range(count):
            if not self.rollout.step():
                return

    def path(self, version: int) -> Path:
        return self.root / self.model / str(version)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "serving")


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """Waits until a condition holds, at most `seconds`."""

    def wait(is_true: Callable[[], object], seconds: float = 10.0) -> None:
        end_s = time.monotonic() + seconds
        while not is_true():
            assert time.monotonic() < end_s, "the condition did not come true in time"
            time.sleep(0.01)

    return wait
