"""The persistor's process between Pub/Sub and Cloud Storage: killed, cut off, and nothing lost."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tidemill_chassis.adapters.gcs_objects import CloudStore
from tidemill_contracts.bus import Bus, Message
from tidemill_contracts.stored_batch import decode_batch

from tests.emulators.machine import wait_until

KILLS = 5
MESSAGES_PER_ROUND = 200
PAUSES = {"TIDEMILL_PERSISTOR_BATCH_AGE_S": "0.1", "TIDEMILL_PERSISTOR_LEASE_S": "2"}
FAULTS = (
    {"operation": "put", "kind": "lost_answer", "share": 0.1},
    {"operation": "put", "kind": "status", "status": 503, "share": 0.2},
)


class Process:
    """`python -m tidemill_persistor.main`, to kill and start again."""

    def __init__(self, environ: dict[str, str], health_port: int) -> None:
        self._ready = f"http://127.0.0.1:{health_port}/readyz"
        self._environ = {**os.environ, **environ, "TIDEMILL_PERSISTOR_HEALTH": f"127.0.0.1:{health_port}"}
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tidemill_persistor.main"]
        self._running = subprocess.Popen(command, env=self._environ, stderr=subprocess.DEVNULL)
        wait_until(self._is_ready)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._ready, timeout=5) as answer:  # noqa: S310  (our own process)
                return int(answer.status) == 200
        except OSError:
            return False

    def let_run(self, seconds: float) -> None:
        """Let it work for a while; it must not end by itself."""
        assert self._running is not None
        with pytest.raises(subprocess.TimeoutExpired):
            self._running.wait(seconds)

    def kill(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.wait()


@pytest.fixture
def process(
    pubsub_emulator: Any, own_storage_server: Any, pubsub_url: str, bucket_url: str, free_port: int
) -> Iterator[Process]:
    addresses = {"TIDEMILL_BUS": pubsub_url, "TIDEMILL_STORE": bucket_url}
    emulators = {**pubsub_emulator.environ, **own_storage_server.environ}
    made = Process({**addresses, **emulators, **PAUSES}, free_port)
    yield made
    made.kill()


def make_message(sample_id: str) -> Message:
    sample = {"id": sample_id, "label": "good", "text": sample_id}
    return Message(json.dumps({"dataset": "reviews", "samples": [sample]}).encode())


class Kept:
    """What the announced objects hold, by message id; looks again whenever it is asked."""

    def __init__(self, bus: Bus, store: CloudStore) -> None:
        self._announcements = bus.subscribe("batches", "test")
        self._store = store
        self._names: set[str] = set()
        self.samples: dict[str, str] = {}

    def holds(self, ids: set[str]) -> bool:
        for delivery in self._announcements.pull(100, 0.2):
            name = json.loads(delivery.message.data)["object"]
            for message in decode_batch(self._store.get(name), name):
                self.samples[message.message_id] = json.loads(message.data)["samples"][0]["id"]
            self._announcements.acknowledge([delivery.ack_id])
        return ids <= self.samples.keys()


def test_kill_9_and_a_failing_store_lose_nothing(
    process: Process,
    open_pubsub: Callable[[], Bus],
    own_storage_server: Any,
    bucket_url: str,
) -> None:
    bus = open_pubsub()
    store = CloudStore.from_url(bucket_url, own_storage_server.environ)
    kept = Kept(bus, store)
    dice = random.Random(20260504)
    published: dict[str, str] = {}

    process.start()
    own_storage_server.set_faults(*FAULTS, seed=1)
    for number in range(KILLS):
        names = [f"r{number}-{n}" for n in range(MESSAGES_PER_ROUND)]
        published.update(
            zip(bus.publish("samples", [make_message(name) for name in names]), names, strict=True)
        )
        process.let_run(dice.uniform(0.0, 0.4))
        process.kill()
        process.start()
    own_storage_server.kill()
    names = [f"late-{n}" for n in range(MESSAGES_PER_ROUND)]
    published.update(zip(bus.publish("samples", [make_message(name) for name in names]), names, strict=True))
    process.let_run(0.5)
    own_storage_server.start()

    wait_until(lambda: kept.holds(set(published)))
    assert kept.samples == published
    assert bus.subscribe("samples.dead", "test").pull(10, 0.5) == []
