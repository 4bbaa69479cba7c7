"""What many callers get beside one who asks at a steady pace, rightly or wrongly."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import NamedTuple

from tests.bench.gateway.load import Load, cpu_s, measure
from tests.bench.gateway.lone_caller import LoneCaller
from tests.bench.gateway.ours import Running

PACE_S = 0.01
"""About as often as each of the others asks."""


class Others(NamedTuple):
    """What the others got. cpu_ms: per request of anybody."""

    p50_ms: float
    p99_ms: float
    cpu_ms: float
    requests_per_s: float


def others_beside(
    ours: Running, models: Path, *, body: bytes, status: int, callers: int, seconds: float
) -> Others:
    """`callers` ask for one row each, beside one who sends `body` each PACE_S and must get `status`."""
    done = Event()

    def neighbour() -> int:
        count, due_s = 0, time.monotonic()
        with LoneCaller(ours.url) as caller:
            while not done.is_set():
                told = caller.ask(body)
                if told.status != status:
                    raise AssertionError(f"the neighbour got {told.status}, not {status}")
                count += 1
                due_s = max(due_s + PACE_S, time.monotonic())
                done.wait(due_s - time.monotonic())
        return count

    with ThreadPoolExecutor(1) as pool:
        before_s = cpu_s(ours.pids)
        asking = pool.submit(neighbour)
        try:
            found = measure(ours.url, Load(callers, 1), models=models, pids=ours.pids, seconds=seconds)
        finally:
            done.set()
        asked = asking.result()
        spent_s = cpu_s(ours.pids) - before_s
    if found.errors:
        raise AssertionError(f"{found.errors} of the others got errors")
    requests = found.requests_per_s * seconds + asked
    return Others(found.p50_ms, found.p99_ms, spent_s * 1000 / requests, found.requests_per_s)
