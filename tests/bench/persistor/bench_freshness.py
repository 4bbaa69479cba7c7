"""How soon a published sample is in a stored object: p99 is at most the batch's age and half a second.

The broker's clock says when a message was published; the kernel's, when the whole object got its name.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tidemill_chassis.adapters.files import FileStore
from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_contracts.bus import Backlog, Message
from tidemill_contracts.stored_batch import decode_batch

BATCH_AGE_S = 0.2
LATE_S_MAX = 0.5
SAMPLES = 4_000
AT_ONCE = 20
RATE_PER_S = 500
DONE = Backlog(waiting=0, leased=0)
BODY = b'{"dataset":"reviews","samples":[{"label":"good","text":"a sentence"}]}'


@pytest.mark.timeout(300)
def test_samples_are_stored_soon(redis_url: str, tmp_path: Path, free_port: int) -> None:
    bus, store = RedisBus.from_url(redis_url), FileStore(tmp_path / "store")
    subscription = bus.subscribe("samples", "persistor", attempts_max=100, ordered=False)
    environment = {
        **os.environ,
        "TIDEMILL_BUS": redis_url,
        "TIDEMILL_STORE": (tmp_path / "store").as_uri(),
        "TIDEMILL_PERSISTOR_HEALTH": f"127.0.0.1:{free_port}",
        "TIDEMILL_PERSISTOR_BATCH_AGE_S": str(BATCH_AGE_S),
    }
    command = [sys.executable, "-m", "tidemill_persistor.main"]
    running = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        bus.publish("samples", [Message(BODY)])
        while subscription.backlog() != DONE:  # until it is up
            time.sleep(0.05)
        warm = {info.name for info in store.list("samples/")}
        for _ in range(0, SAMPLES, AT_ONCE):
            bus.publish("samples", [Message(BODY)] * AT_ONCE)
            time.sleep(AT_ONCE / RATE_PER_S)
        while subscription.backlog() != DONE:
            time.sleep(0.05)
    finally:
        running.terminate()
        running.wait(30)
    late_s = sorted(
        (tmp_path / "store" / info.name).stat().st_ctime_ns / 1e9 - message.publish_time.timestamp()
        for info in store.list("samples/")
        if info.name not in warm
        for message in decode_batch(store.get(info.name), info.name)
    )
    bus.close()

    p50, p99 = late_s[len(late_s) // 2], late_s[len(late_s) * 99 // 100]
    print(
        f"\nbatches of {BATCH_AGE_S} s, {RATE_PER_S} samples/s: from published to stored {p50:.3f} s at the "
        f"median, {p99:.3f} s at the 99th percentile, {late_s[-1]:.3f} s at most"
    )
    assert len(late_s) >= SAMPLES
    assert p99 < BATCH_AGE_S + LATE_S_MAX
