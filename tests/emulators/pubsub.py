"""Google's own Pub/Sub emulator, started once a run."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from tidemill_contracts.bus import Bus

from tests.emulators.machine import find_program, free_port, listens, missing, wait_until

PROGRAM = "cloud-pubsub-emulator"
PROGRAM_VARIABLE = "TIDEMILL_PUBSUB_EMULATOR"
PLACES = (f"/usr/lib/google-cloud-sdk/platform/pubsub-emulator/bin/{PROGRAM}",)
MEMORY_MAX = "-Xmx512m"  # it never forgets what was acknowledged


class PubsubEmulator:
    """A server to stop and start again on the same port; it forgets everything in between."""

    def __init__(self, program: str, memory_max: str = MEMORY_MAX) -> None:
        self._program = program
        self._memory_max = memory_max
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to find it."""
        return {"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{self._port}"}

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "--host=127.0.0.1", f"--port={self._port}"],
            env={**os.environ, "JAVA_OPTS": self._memory_max},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda: listens(self._port))

    def kill(self) -> None:
        """SIGKILL to it and what it started."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def find_emulator(memory_max: str = MEMORY_MAX) -> PubsubEmulator:
    """One that is not started yet; the test is skipped, or fails, where it is not installed."""
    program = find_program(PROGRAM, variable=PROGRAM_VARIABLE, places=PLACES)
    if program is None:
        missing("the Pub/Sub emulator", f"install google-cloud-cli-pubsub-emulator or set {PROGRAM_VARIABLE}")
    return PubsubEmulator(program, memory_max)


@pytest.fixture(scope="session")
def pubsub_emulator() -> Iterator[PubsubEmulator]:
    """The emulator that the whole run shares. Each test takes a project of its own."""
    emulator = find_emulator()
    emulator.start()
    yield emulator
    emulator.kill()


@pytest.fixture
def own_pubsub_emulator() -> Iterator[PubsubEmulator]:
    """An emulator of the test's own, to stop and start."""
    emulator = find_emulator()
    emulator.start()
    yield emulator
    emulator.kill()


@pytest.fixture
def pubsub_url() -> str:
    """A project that nobody used yet."""
    return f"pubsub://test-{uuid4().hex[:12]}"


@pytest.fixture
def open_pubsub(pubsub_emulator: PubsubEmulator, pubsub_url: str) -> Iterator[Callable[..., Bus]]:
    """``open_pubsub(streaming=False)``: another bus in the test's project, closed after it."""
    from tidemill_chassis.adapters.pubsub_bus import PubsubBus  # heavy, and most runs do without

    opened: list[Bus] = []

    def open_bus(*, streaming: bool = False) -> Bus:
        url = f"{pubsub_url}?pull=streaming" if streaming else pubsub_url
        opened.append(PubsubBus.from_url(url, pubsub_emulator.environ))
        return opened[-1]

    yield open_bus
    for bus in opened:
        bus.close()
