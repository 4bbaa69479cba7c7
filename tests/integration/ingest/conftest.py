"""Ingest as it runs: its own process, gunicorn, a real broker."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

WAIT_S_MAX = 30.0
DIGITS = """
name: digits
kind: image_classifier
dataset: digits
labels: ["0", "1", "2"]
input: {height: 28, width: 28, channels: 1}
"""


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """``eventually(condition)``: return once it holds; fail when it does not in time."""

    def wait(condition: Callable[[], bool]) -> None:
        end_s = time.monotonic() + WAIT_S_MAX
        while not condition():
            assert time.monotonic() < end_s, "waited in vain"
            time.sleep(0.02)

    return wait


@pytest.fixture
def digit() -> bytes:
    """A plain PNG of 28 × 28 grey pixels."""
    file = io.BytesIO()
    Image.radial_gradient("L").resize((28, 28)).save(file, "PNG")
    return file.getvalue()


class Process:
    """`python -m tidemill_ingest.main` on a port of its own."""

    def __init__(self, folder: Path, bus_url: str, port: int) -> None:
        self.store = folder / "store"
        self.port = port
        models = folder / "models"
        models.mkdir()
        (models / "digits.yaml").write_text(DIGITS)
        environ = {
            **os.environ,
            "TIDEMILL_BUS": bus_url,
            "TIDEMILL_STORE": self.store.as_uri(),
            "TIDEMILL_MODELS": str(models),
            "TIDEMILL_INGEST_BIND": f"127.0.0.1:{port}",
            "TIDEMILL_INGEST_INBOX_POLL_S": "0.05",
            "TIDEMILL_INGEST_INBOX_SETTLE_S": "0.1",
        }
        self.log = folder / "ingest.log"
        command = [sys.executable, "-m", "tidemill_ingest.main"]
        with self.log.open("wb") as log:
            self._running = subprocess.Popen(command, env=environ, stderr=log)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(self.url(path), timeout=5) as answer:  # noqa: S310  (our own process)
                return int(answer.status) == 200
        except OSError:
            return False

    def pids(self) -> list[int]:
        """Gunicorn's arbiter and its worker."""
        children = Path(f"/proc/{self._running.pid}/task/{self._running.pid}/children").read_text()
        return [self._running.pid, *map(int, children.split())]

    def end(self) -> int:
        """SIGTERM; the exit code."""
        if self._running.poll() is None:
            self._running.send_signal(signal.SIGTERM)
        return self._running.wait(30)


@pytest.fixture
def make_process(
    tmp_path: Path, free_port: int, eventually: Callable[..., None]
) -> Iterator[Callable[[str], Process]]:
    """``make_process(bus_url)``: an ingest that is ready."""
    made: list[Process] = []

    def make(bus_url: str) -> Process:
        made.append(Process(tmp_path, bus_url, free_port))
        eventually(lambda: made[-1].answers("/readyz"))
        return made[-1]

    yield make
    for process in made:
        process.end()


@pytest.fixture
def ingest(make_process: Callable[[str], Process], redis_url: str) -> Any:
    """An ingest on an empty broker."""
    return make_process(redis_url)


@pytest.fixture
def silent_address() -> Iterator[tuple[str, int]]:
    """An address where connections are taken and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[:2]
