"""What persisting costs: from a real Redis server to a folder, against the best that either side allows.

L is the smaller of two rates measured in the same run: a bare loop that pulls and acknowledges the same
messages, and a bare write of the same objects. The aim is 0.8 L, and 15 µs of CPU a sample.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tidemill_chassis.adapters.files import FileStore
from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_contracts.bus import Backlog, Message, Subscription
from tidemill_contracts.objects import ABSENT, ObjectStore
from tidemill_contracts.stored_batch import Codec
from tidemill_persistor.batching import BatchLimits, Hand, HandLimits
from tidemill_persistor.leases import LeaseKeeper
from tidemill_persistor.main import COLLECT_EVERY
from tidemill_persistor.worker import Worker

SAMPLES = {1: 100_000, 100: 400_000, 500: 400_000}
"""By samples a message: enough that the age of the last batch, a tenth of a second, weighs little."""
LEASE_S = 30.0
DONE = Backlog(waiting=0, leased=0)


def messages(samples_each: int) -> list[Message]:
    """Digits of 250 random bytes, so many to a message."""
    made: list[Message] = []
    for start in range(0, SAMPLES[samples_each], samples_each):
        samples = [
            {"id": f"s{start + n}", "label": "3", "image": base64.b64encode(os.urandom(250)).decode()}
            for n in range(samples_each)
        ]
        made.append(Message(json.dumps({"dataset": "digits", "samples": samples}).encode()))
    return made


@dataclass(frozen=True)
class Cost:
    """Of all samples."""

    samples: int
    wall_s: float
    cpu_s: float

    @classmethod
    def of(cls, samples: int, work: Callable[[], None]) -> Cost:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        work()
        return cls(samples, time.perf_counter() - wall_s, time.process_time() - cpu_s)

    def __str__(self) -> str:
        return (
            f"{self.samples / self.wall_s:,.0f} samples/s, {self.cpu_s / self.samples * 1e6:.1f} µs CPU each"
        )


def pull_all(subscription: Subscription) -> None:
    while subscription.backlog() != DONE:
        deliveries = subscription.pull(500, 0.05)
        subscription.acknowledge([delivery.ack_id for delivery in deliveries])


def write_all(store: ObjectStore, objects: list[tuple[str, bytes]]) -> None:
    for name, data in objects:
        store.put(name, data, if_generation=ABSENT)


@pytest.mark.parametrize("codec", ["deflate", "zstandard"])
@pytest.mark.parametrize("samples_each", [1, 100, 500])
def test_samples_by_the_second(redis_url: str, tmp_path: Path, samples_each: int, codec: Codec) -> None:
    collected_before = gc.get_threshold()
    bus, store = RedisBus.from_url(redis_url), FileStore(tmp_path / "store")
    subscription = bus.subscribe("samples", "persistor", ack_deadline_s=LEASE_S)
    other = bus.subscribe("samples", "bench")
    published = messages(samples_each)
    bus.publish("samples", published)
    hand = Hand(BatchLimits(5000, 8 * 2**20, 0.1), HandLimits(20_000, 32 * 2**20))
    worker = Worker(
        subscription, store, bus, hand=hand, leases=LeaseKeeper(subscription, LEASE_S), codec=codec
    )

    def persist_all() -> None:
        while subscription.backlog() != DONE:
            worker.turn()

    samples = SAMPLES[samples_each]
    gc.set_threshold(COLLECT_EVERY)  # as main does
    pulled = Cost.of(samples, lambda: pull_all(other))
    kept = Cost.of(samples, persist_all)
    objects = [(info.name, store.get(info.name)) for info in store.list("samples/")]
    bare = FileStore(tmp_path / "bare")
    written = Cost.of(samples, lambda: write_all(bare, objects))
    gc.set_threshold(*collected_before)

    limit_s = max(pulled.wall_s, written.wall_s)
    size_mb = sum(len(message.data) for message in published) / 1e6
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(  # a measurement is for reading
        f"\n{samples_each} a message, {codec}: persisted {kept} ({size_mb / kept.wall_s:.0f} MB/s)\n"
        f"  bare pull {pulled}\n  bare write of {len(objects)} objects {written}\n"
        f"  {limit_s / kept.wall_s:.2f} of L; {kept.cpu_s / pulled.cpu_s:.2f} times the bare pull's CPU; "
        f"{memory_mb:.0f} MB"
    )
    bus.close()
