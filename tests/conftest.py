"""What every ring shares: free ports, a real Redis server, the real data."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from tidemill.embedded_redis import Durability, server_command

from tests.emulators.machine import free_port, missing

pytest_plugins = ["tests.emulators.postgres", "tests.emulators.pubsub", "tests.emulators.storage"]
START_S_MAX = 10.0


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real datasets: TIDEMILL_TEST_DATA, or a folder beside the project."""
    folder = Path(os.environ.get("TIDEMILL_TEST_DATA", "../shared/data"))
    if not folder.is_absolute():
        folder = Path(__file__).parent.parent / folder
    if not folder.is_dir():
        missing(f"the data in {folder}", "set TIDEMILL_TEST_DATA to a folder of datasets")
    return folder.resolve()


@pytest.fixture(name="free_port")
def free_port_fixture() -> int:
    """A port of loopback that nobody listens on now."""
    return free_port()


class RedisServer:
    """A real server on a folder; stop it and start it again on the same port and folder."""

    def __init__(self, folder: Path, durability: Durability) -> None:
        self.folder = folder
        self._durability = durability
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = server_command(self.folder, self.port, self._durability)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        client = redis.Redis(port=self.port)
        end_s = time.monotonic() + START_S_MAX
        while True:
            try:
                client.ping()
                break
            except redis.RedisError:
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.02)
        client.close()

    def kill(self) -> None:
        """SIGKILL, as a power cut to the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, to stop and start: on a slow disk only a durable one loses nothing then."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder, "durable")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def _shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), "fast")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(_shared_redis: RedisServer) -> str:
    """An empty database of a server that the whole run shares."""
    client = redis.Redis(port=_shared_redis.port)
    client.flushall()
    client.close()
    return _shared_redis.url
