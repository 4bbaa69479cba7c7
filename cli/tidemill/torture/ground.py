"""Where a torture takes place: on a broker and a folder of its own, or on addresses that are given."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tidemill_contracts.errors import InvalidInput
from tidemill_registry import Registry

from tidemill.deployment import Deployment
from tidemill.torture.postgres import PostgresPlace

STORE_EMULATOR = "STORAGE_EMULATOR_HOST"
BUS_EMULATOR = "PUBSUB_EMULATOR_HOST"
FAULTS_PATH = "/_faults"
ANSWER_S_MAX = 5.0
LOCK_S_MAX = 1.0
"""So long the registry waits for SQLite's lock: shorter than the fault that holds it."""

Need = Literal["", "own broker", "own folder", "faulty store"]
"""What a fault needs: a broker to kill, a folder to take away, or a store that fails on demand."""


@dataclass(frozen=True)
class Ground:
    """bus, store: addresses; empty: of its own. own_postgres: the registry's server; None: SQLite.

    Only emulators are taken: what is tortured is filled with samples that mean nothing, and is never emptied.
    """

    deployment: Deployment
    bus: str = ""
    store: str = ""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    own_postgres: PostgresPlace | None = None

    def __post_init__(self) -> None:
        for url, scheme, variable in (
            (self.bus, "pubsub:", BUS_EMULATOR),
            (self.store, "gs:", STORE_EMULATOR),
        ):
            if url and not url.startswith(scheme):
                raise InvalidInput(f"torture takes {scheme}//… on an emulator, or makes its own: not {url!r}")
            if url and not self.environ.get(variable):
                raise InvalidInput(f"torture is for emulators: start one and set {variable}")
        if "pull=streaming" in self.bus:
            raise InvalidInput(
                "Pub/Sub's emulator goes on delivering to the streams of killed processes: torture takes no "
                "?pull=streaming"
            )

    @property
    def bus_url(self) -> str:
        return self.bus or self.deployment.bus_url

    @property
    def store_url(self) -> str:
        return self.store or self.deployment.store_url

    @property
    def database_url(self) -> str:
        if self.own_postgres is not None:
            return self.own_postgres.url
        return f"sqlite:///{self.sqlite_file}?timeout={LOCK_S_MAX}"

    @property
    def sqlite_file(self) -> Path:
        return self.deployment.folder / "registry.sqlite"

    @property
    def kinds(self) -> Path:
        """Where the trainer under torture finds its kind of model."""
        return self.deployment.folder / "kinds"

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        """The registry, opened for a while."""
        registry = Registry.open(self.database_url)
        try:
            yield registry
        finally:
            registry.close()

    def offers(self) -> set[Need]:
        """What faults may need, and have here."""
        found: set[Need] = {""}
        if not self.bus:
            found.add("own broker")
        if not self.store:
            found.add("own folder")
        elif self._store_can_fail():
            found.add("faulty store")
        return found

    def set_store_faults(self, rules: Sequence[Mapping[str, object]], seed: int) -> None:
        """Let the store's emulator commit these faults from now on; none: all is well again."""
        body = json.dumps({"seed": seed, "rules": list(rules)}).encode()
        request = urllib.request.Request(self._faults_url(), body, method="PUT")  # noqa: S310  (http only)
        with urllib.request.urlopen(request, timeout=ANSWER_S_MAX):  # noqa: S310
            pass

    def _faults_url(self) -> str:
        host = self.environ[STORE_EMULATOR]
        return (host if host.startswith("http://") else f"http://{host}").rstrip("/") + FAULTS_PATH

    def _store_can_fail(self) -> bool:
        try:
            with urllib.request.urlopen(self._faults_url(), timeout=ANSWER_S_MAX) as answer:  # noqa: S310
                return "struck" in json.load(answer)
        except (OSError, ValueError):
            return False
