"""The Cloud Storage server of our own as a process, or any other that STORAGE_EMULATOR_HOST names."""

# ruff: noqa: S310  (the only address opened is our own server's)
from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.emulators.machine import free_port, listens, wait_until

ROOT = Path(__file__).parents[2]


class StorageProcess:
    """Our server in a folder; kill it and start it again on the same port and folder."""

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environ = environ or {}
        self._port = free_port()
        self.host = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to find it."""
        return {"STORAGE_EMULATOR_HOST": self.host}

    def start(self) -> None:
        program = [sys.executable, "-m", "tests.emulators.storage_server"]
        options = ["--folder", str(self._folder), "--port", str(self._port)]
        environ = {**os.environ, **self._environ}
        self._process = subprocess.Popen([*program, *options], cwd=ROOT, env=environ)
        wait_until(lambda: listens(self._port))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def set_faults(self, *rules: dict[str, Any], seed: int = 0) -> None:
        """Commit these from now on; without any, none."""
        body = json.dumps({"seed": seed, "rules": rules}).encode()
        request = urllib.request.Request(f"{self.host}/_faults", body, method="PUT")
        urllib.request.urlopen(request, timeout=10).close()

    def struck(self) -> list[int]:
        """How often each rule struck."""
        with urllib.request.urlopen(f"{self.host}/_faults", timeout=10) as answer:
            return [int(count) for count in json.load(answer)["struck"]]


@pytest.fixture(scope="session")
def _shared_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageProcess]:
    server = StorageProcess(tmp_path_factory.mktemp("storage"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def storage_server(_shared_storage: StorageProcess) -> Iterator[StorageProcess]:
    """Our server, which the whole run shares; its faults end with the test."""
    yield _shared_storage
    _shared_storage.set_faults()


@pytest.fixture
def own_storage_server(tmp_path: Path) -> Iterator[StorageProcess]:
    """A server of the test's own, to kill and start."""
    server = StorageProcess(tmp_path / "storage")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def announcing_storage_server(tmp_path: Path, pubsub_emulator: Any) -> Iterator[StorageProcess]:
    """A server of the test's own, whose notifications go to Pub/Sub's emulator."""
    server = StorageProcess(tmp_path / "storage", pubsub_emulator.environ)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def storage_environ(request: pytest.FixtureRequest) -> dict[str, str]:
    """The emulator that STORAGE_EMULATOR_HOST names, else ours."""
    host = os.environ.get("STORAGE_EMULATOR_HOST")
    if host:
        return {"STORAGE_EMULATOR_HOST": host}
    found: dict[str, str] = request.getfixturevalue("storage_server").environ
    return found


@pytest.fixture
def bucket_url() -> str:
    """A bucket that nobody used yet."""
    return f"gs://test-{uuid4().hex[:12]}"
