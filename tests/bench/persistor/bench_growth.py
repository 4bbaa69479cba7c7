"""What a sample costs as their number grows: 10,000 to 1,000,000 messages through one persistor's process.

CPU and memory are the process's own, told by the kernel; the backlog is held below BACKLOG_MAX, so that the
broker's memory is no part of it.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_contracts.bus import Backlog, Message

BACKLOG_MAX = 20_000
AT_ONCE = 2_000
DONE = Backlog(waiting=0, leased=0)
GROWTH_MB_MAX = 60
"""Between the tenth part of the messages and the last: a leak of 100 bytes a message would be 90 MB."""


def message(number: int) -> Message:
    image = base64.b64encode(os.urandom(250)).decode()
    body = {"dataset": "digits", "samples": [{"id": f"s{number}", "label": "3", "image": image}]}
    return Message(json.dumps(body).encode())


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("count", [10_000, 100_000, 1_000_000])
def test_cost_does_not_grow(redis_url: str, tmp_path: Path, free_port: int, count: int) -> None:
    bus = RedisBus.from_url(redis_url)
    subscription = bus.subscribe("samples", "persistor", attempts_max=100, ordered=False)
    environment = {
        **os.environ,
        "TIDEMILL_BUS": redis_url,
        "TIDEMILL_STORE": (tmp_path / "store").as_uri(),
        "TIDEMILL_PERSISTOR_HEALTH": f"127.0.0.1:{free_port}",
    }
    command = [sys.executable, "-m", "tidemill_persistor.main"]
    running = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    process, memory_mb = psutil.Process(running.pid), list[float]()
    try:
        begun_s = time.monotonic()
        for first in range(0, count, AT_ONCE):
            bus.publish("samples", [message(first + n) for n in range(AT_ONCE)])
            while subscription.backlog().waiting > BACKLOG_MAX:
                time.sleep(0.02)
            if (first // AT_ONCE + 1) % max(1, count // AT_ONCE // 10) == 0:
                memory_mb.append(process.memory_info().rss / 2**20)
        while subscription.backlog() != DONE:
            time.sleep(0.05)
        wall_s = time.monotonic() - begun_s
        memory_mb.append(process.memory_info().rss / 2**20)
        used = process.cpu_times()
    finally:
        running.terminate()
        running.wait(30)
        bus.close()
    cpu_us = (used.user + used.system) / count * 1e6
    tenths = ", ".join(f"{one:.0f}" for one in memory_mb)
    print(
        f"\n{count:,} messages of one sample: {cpu_us:.1f} µs of CPU each, start included; memory after each "
        f"tenth {tenths} MB; {count / wall_s:,.0f} a second with the producer"
    )
    assert memory_mb[-1] - memory_mb[0] < GROWTH_MB_MAX
