"""Persistor processes, and a worker in a thread, on real buses and stores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.bus import Bus, Message
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.stored_batch import StoredMessage, decode_batch
from tidemill_persistor.batching import BatchLimits, Hand, HandLimits
from tidemill_persistor.leases import LeaseKeeper
from tidemill_persistor.worker import Worker

from tests.emulators.machine import free_port

WAIT_S_MAX = 60.0


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
def stored() -> Callable[[ObjectStore], list[StoredMessage]]:
    """``stored(store)``: every message in every batch."""

    def read(store: ObjectStore) -> list[StoredMessage]:
        names = [info.name for info in store.list("samples/")]
        return [message for name in names for message in decode_batch(store.get(name), name)]

    return read


@pytest.fixture
def make_message() -> Callable[..., Message]:
    """``make_message(sample_id, padding)``: plain JSON with one text sample of that id."""

    def make(sample_id: str, padding: str = "") -> Message:
        sample = f'{{"id":"{sample_id}","label":"good","text":"{sample_id}{padding}"}}'
        return Message(f'{{"dataset":"reviews","samples":[{sample}]}}'.encode())

    return make


class Process:
    """`python -m tidemill_persistor.main`, to kill and start again."""

    def __init__(self, bus_url: str, store_folder: Path) -> None:
        self._health_port = free_port()
        self._environ = {
            **os.environ,
            "TIDEMILL_BUS": bus_url,
            "TIDEMILL_STORE": store_folder.as_uri(),
            "TIDEMILL_PERSISTOR_HEALTH": f"127.0.0.1:{self._health_port}",
            "TIDEMILL_PERSISTOR_BATCH_AGE_S": "0.1",
            "TIDEMILL_PERSISTOR_BATCH_MESSAGES": "50",
            "TIDEMILL_PERSISTOR_LEASE_S": "1",
        }
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    def start(self) -> None:
        command = [sys.executable, "-m", "tidemill_persistor.main"]
        self._running = subprocess.Popen(command, env=self._environ, stderr=subprocess.DEVNULL)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health_port}/readyz", timeout=5) as answer:
                return int(answer.status) == 200
        except OSError:
            return False

    def messages_stored(self) -> int:
        """How many it has stored since it started, as its metrics say."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health_port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0
        found = (line for line in lines if line.startswith("tidemill_persistor_messages_total{"))
        return int(sum(float(line.rpartition(" ")[2]) for line in found))

    def let_run(self, seconds: float) -> None:
        """Let it work for a while; it must not end by itself."""
        assert self._running is not None
        with pytest.raises(subprocess.TimeoutExpired):
            self._running.wait(seconds)

    def end(self, number: int = signal.SIGKILL) -> int:
        """Send the signal; the exit code, once it is gone."""
        if self._running is None:
            return 0
        self._running.send_signal(number)
        return self._running.wait(20)


@pytest.fixture
def make_process() -> Iterator[Callable[[str, Path], Process]]:
    made: list[Process] = []

    def make(bus_url: str, store_folder: Path) -> Process:
        made.append(Process(bus_url, store_folder))
        return made[-1]

    yield make
    for process in made:
        process.end()


class Running:
    """A worker in a thread of this process."""

    def __init__(self, bus: Bus, store: ObjectStore) -> None:
        self.subscription = bus.subscribe("samples", "persistor", ack_deadline_s=1.0, attempts_max=100)
        self._leases = LeaseKeeper(self.subscription, 1.0)
        limits = BatchLimits(messages_max=50, size_bytes_max=2**20, age_s_max=0.1)
        hand = Hand(limits, HandLimits(messages_max=1000, size_bytes_max=4 * 2**20))
        self.worker = Worker(self.subscription, store, bus, hand=hand, leases=self._leases)
        self._stop = Stop()
        self._thread = threading.Thread(target=self.worker.run, args=(self._stop,))

    def start(self) -> None:
        self._leases.__enter__()
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join(20.0)
        self._leases.__exit__(None, None, None)
        assert not self._thread.is_alive()


@pytest.fixture
def run_worker() -> Iterator[Callable[[Bus, ObjectStore], Running]]:
    """``run_worker(bus, store)``: started here, ended after the test."""
    made: list[Running] = []

    def run(bus: Bus, store: ObjectStore) -> Running:
        made.append(Running(bus, store))
        made[-1].start()
        return made[-1]

    yield run
    for running in made:
        running.end()
