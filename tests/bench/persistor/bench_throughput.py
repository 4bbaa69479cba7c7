"""What persisting costs: from a real broker to a folder, against the best that either side allows.

L is the smaller of two rates measured in the same run: a bare loop that pulls and acknowledges the same
messages, as many at a time as the persistor pulls, and a bare write of the same objects, one after the other.
The aim is 0.8 L and 15 µs of CPU a sample; for messages of 100 samples, 100 MB/s.

The bare loop runs before and after, and the quicker one counts. The emulator, in Java, is warmed up first: it
took 50 to 70 µs of CPU for each of the first messages, and 10 to 20 after 150,000.
Nothing asks the broker for its backlog meanwhile: all know how many messages there are.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tidemill_chassis.adapters.files import FileStore
from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.bus import Bus, Message, Subscription
from tidemill_contracts.objects import ABSENT, ObjectStore
from tidemill_contracts.stored_batch import Codec
from tidemill_persistor.intake import PULL_MESSAGES_MAX
from tidemill_persistor.main import tune, working
from tidemill_persistor.settings import Settings

REDIS_SAMPLES = {1: 100_000, 100: 400_000, 500: 400_000}
PUBSUB_SAMPLES = {1: 100_000, 100: 200_000}
"""By samples a message: enough that the age of the last batch weighs little; the emulator forgets nothing."""
PUBLISHED_AT_ONCE = 1000
ENVIRON = {"TIDEMILL_BUS": "unused", "TIDEMILL_STORE": "unused"}
WARMING_MESSAGES = 150_000
AGE_S = 0.1
"""Of a batch; for the last one the persistor is charged with it. The emulator gives out messages the slower
the more of them are leased: at 0.5 s the persistor was a quarter slower, and the emulator took half as much
again for each."""


def messages(count: int, samples_each: int) -> list[Message]:
    """Digits of 250 random bytes, so many to a message."""
    made: list[Message] = []
    for start in range(0, count, samples_each):
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


class Watched:
    """A subscription that tells when so many messages are acknowledged."""

    def __init__(self, inner: Subscription, count: int, stop: Stop) -> None:
        self._inner = inner
        self._left = count
        self._stop = stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        self._inner.acknowledge(ack_ids)
        self._left -= len(ack_ids)
        if self._left <= 0:
            self._stop.set()


def pull_all(subscription: Subscription, count: int) -> None:
    while count > 0:
        deliveries = subscription.pull(PULL_MESSAGES_MAX, 0.5)
        subscription.acknowledge([delivery.ack_id for delivery in deliveries])
        count -= len(deliveries)


def persist_all(subscription: Subscription, count: int, store: ObjectStore, bus: Bus, codec: Codec) -> None:
    stop = Stop()
    watched: Any = Watched(subscription, count, stop)
    told = {"TIDEMILL_PERSISTOR_CODEC": codec, "TIDEMILL_PERSISTOR_BATCH_AGE_S": str(AGE_S)}
    settings = Settings.from_env({**ENVIRON, **told})
    with working(settings, watched, store, bus) as worker:
        worker.run(stop)


def write_all(store: ObjectStore, objects: list[tuple[str, bytes]]) -> None:
    for name, data in objects:
        store.put(name, data, if_generation=ABSENT)


@contextmanager
def tuned() -> Iterator[None]:
    """Python as the persistor's main sets it."""
    collected, switched = gc.get_threshold(), sys.getswitchinterval()
    tune()
    yield
    gc.set_threshold(*collected)
    sys.setswitchinterval(switched)


def publish_all(bus: Bus, topic: str, published: Sequence[Message]) -> None:
    for start in range(0, len(published), PUBLISHED_AT_ONCE):
        bus.publish(topic, published[start : start + PUBLISHED_AT_ONCE])


def warm(bus: Bus) -> None:
    """Let the server compile what it does most."""
    subscription = bus.subscribe("warming", "persistor", ordered=False)
    publish_all(bus, "warming", messages(WARMING_MESSAGES, 1))
    pull_all(subscription, WARMING_MESSAGES)


def measure(bus: Bus, folder: Path, samples: int, samples_each: int, codec: Codec) -> None:
    store, bare = FileStore(folder / "store"), FileStore(folder / "bare")
    persistor, *others = (
        bus.subscribe("samples", name, ordered=False) for name in ("persistor", "before", "after")
    )
    published = messages(samples, samples_each)
    count = len(published)
    publish_all(bus, "samples", published)

    with tuned():
        before = Cost.of(samples, lambda: pull_all(others[0], count))
        kept = Cost.of(samples, lambda: persist_all(persistor, count, store, bus, codec))
        after = Cost.of(samples, lambda: pull_all(others[1], count))
        objects = [(info.name, store.get(info.name)) for info in store.list("samples/")]
        written = Cost.of(samples, lambda: write_all(bare, objects))

    pulled = min(before, after, key=lambda cost: cost.wall_s)
    limit_s = max(pulled.wall_s, written.wall_s)
    size_mb = sum(len(message.data) for message in published) / 1e6
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(  # a measurement is for reading
        f"\n{type(bus).__name__}, {samples_each} a message, {codec}: persisted {kept} "
        f"({size_mb / kept.wall_s:.0f} MB/s)\n"
        f"  bare pull {pulled}\n  bare write of {len(objects)} objects {written}\n"
        f"  {limit_s / kept.wall_s:.2f} of L; {kept.cpu_s / pulled.cpu_s:.2f} times the bare pull's CPU; "
        f"{memory_mb:.0f} MB with the messages published"
    )


@pytest.mark.parametrize("codec", ["deflate", "zstandard"])
@pytest.mark.parametrize("samples_each", REDIS_SAMPLES)
def test_samples_by_the_second_from_streams(
    redis_url: str, tmp_path: Path, samples_each: int, codec: Codec
) -> None:
    bus = RedisBus.from_url(redis_url)
    measure(bus, tmp_path, REDIS_SAMPLES[samples_each], samples_each, codec)
    bus.close()


@pytest.mark.parametrize("samples_each", PUBSUB_SAMPLES)
def test_samples_by_the_second_from_pubsub(
    open_pubsub: Callable[[], Bus], tmp_path: Path, samples_each: int
) -> None:
    bus = open_pubsub()
    warm(bus)
    measure(bus, tmp_path, PUBSUB_SAMPLES[samples_each], samples_each, "deflate")
