"""What persistors reach that share a subscription of Streams, each a process as it is deployed.

Against L as in bench_throughput: the smaller of one bare loop that pulls and acknowledges, and a bare write
of the same objects. In both profiles of the bus: `durable`, the default, in which the server fsyncs before it
answers, and `fast`. The processes are stopped by a signal while the messages are published, so that no start
is measured.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
import redis
from tidemill.embedded_redis import FSYNC, Durability
from tidemill_chassis.adapters.files import FileStore
from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_contracts.bus import Backlog

from tests.bench.persistor.bench_throughput import Cost, messages, pull_all, tuned, write_all
from tests.emulators.machine import free_port, listens, wait_until

SAMPLES = 500_000
PUBLISHED_AT_ONCE = 1000
DONE = Backlog(waiting=0, leased=0)
LOOK_EVERY_S = 0.01
DRAIN_S_MAX = 120.0


@contextmanager
def persistor(redis_url: str, store: Path) -> Iterator[psutil.Process]:
    """A persistor that is ready and stands still; its batches are of the other bench's age."""
    port = free_port()
    environment = {
        **os.environ,
        "TIDEMILL_BUS": redis_url,
        "TIDEMILL_STORE": store.as_uri(),
        "TIDEMILL_PERSISTOR_HEALTH": f"127.0.0.1:{port}",
        "TIDEMILL_PERSISTOR_BATCH_AGE_S": "0.1",
    }
    running = subprocess.Popen(
        [sys.executable, "-m", "tidemill_persistor.main"], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: listens(port))
        running.send_signal(signal.SIGSTOP)
        yield psutil.Process(running.pid)
    finally:
        running.send_signal(signal.SIGCONT)
        running.terminate()
        running.wait(30)


def drained(bus: RedisBus, processes: list[psutil.Process], samples: int) -> Cost:
    """What the processes take until everything is stored and acknowledged."""
    subscription = bus.subscribe("samples", "persistor", ordered=False)
    before_s = sum(sum(process.cpu_times()[:2]) for process in processes)
    begun_s = time.perf_counter()
    for process in processes:
        process.resume()
    while subscription.backlog() != DONE:
        time.sleep(LOOK_EVERY_S)
        assert time.perf_counter() - begun_s < DRAIN_S_MAX
    wall_s = time.perf_counter() - begun_s
    return Cost(samples, wall_s, sum(sum(process.cpu_times()[:2]) for process in processes) - before_s)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("durability", FSYNC)
@pytest.mark.parametrize("persistors", [1, 2])
def test_samples_by_the_second_from_streams_by_processes(
    redis_url: str, tmp_path: Path, persistors: int, durability: Durability
) -> None:
    bus, client = RedisBus.from_url(redis_url), redis.Redis.from_url(redis_url)
    published = messages(SAMPLES, 1)
    with ExitStack() as stack:
        bus.subscribe("samples", "persistor", ordered=False)
        loop = bus.subscribe("samples", "bare", ordered=False)
        processes = [stack.enter_context(persistor(redis_url, tmp_path / "store")) for _ in range(persistors)]
        for start in range(0, SAMPLES, PUBLISHED_AT_ONCE):
            bus.publish("samples", published[start : start + PUBLISHED_AT_ONCE])
        client.config_set("appendfsync", FSYNC[durability])

        with tuned():
            pulled = Cost.of(SAMPLES, lambda: pull_all(loop, SAMPLES))
        kept = drained(bus, processes, SAMPLES)
    store, bare = FileStore(tmp_path / "store"), FileStore(tmp_path / "bare")
    objects = [(info.name, store.get(info.name)) for info in store.list("samples/")]
    written = Cost.of(SAMPLES, lambda: write_all(bare, objects))
    client.config_set("appendfsync", FSYNC["fast"])
    client.close()
    bus.close()

    limit_s = max(pulled.wall_s, written.wall_s)
    print(
        f"\n{durability} Streams, {persistors} persistors, one a message: persisted {kept}\n"
        f"  bare pull {pulled}\n  bare write of {len(objects)} objects {written}\n"
        f"  {limit_s / kept.wall_s:.2f} of L"
    )
