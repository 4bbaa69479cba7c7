"""The sample of predictions: what goes onto the bus, and that nobody waits for it."""

from __future__ import annotations

import threading
from typing import Any

import orjson
from tidemill_contracts.envelope import from_message
from tidemill_contracts.events import PredictionAnswered
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_gateway.prediction_log import WAITING_MAX, PredictionLog

FACTS: dict[str, Any] = {
    "model": "digits",
    "version": 3,
    "label": "stable",
    "signature": "serving_default",
    "dialect": "tfserving",
    "batch_rows": 4,
    "queue_ms": 0.1,
    "compute_ms": 1.5,
}


def logged(bus: MemoryBus) -> list[PredictionAnswered]:
    return [from_message(message, PredictionAnswered) for message in bus.published("predictions")]


def test_a_sampled_prediction_is_published_with_its_version() -> None:
    bus = MemoryBus()
    log = PredictionLog(bus, percent=100.0, bytes_max=1000)

    log.offer(b'{"instances": [1]}', b'{"predictions": [2]}', **FACTS)
    log.close()

    (entry,) = logged(bus)
    assert (entry.model, entry.version) == ("digits", 3)
    assert (entry.request, entry.response) == ({"instances": [1]}, {"predictions": [2]})


def test_only_the_share_that_was_asked_for_is_sampled() -> None:
    bus, points = MemoryBus(), iter([0.05, 0.2, 0.09, 0.99])
    log = PredictionLog(bus, percent=10.0, bytes_max=1000, draw=lambda: next(points))

    for _ in range(4):
        log.offer(b"{}", b"{}", **FACTS)
    log.close()

    assert len(logged(bus)) == 2


def test_large_bodies_stay_out_their_facts_do_not() -> None:
    bus = MemoryBus()
    log = PredictionLog(bus, percent=100.0, bytes_max=10)

    log.offer(orjson.dumps({"instances": [1] * 100}), b"{}", **FACTS)
    log.close()

    (entry,) = logged(bus)
    assert (entry.request, entry.version) == (None, 3)


def test_a_bus_that_hangs_keeps_nobody_waiting_and_memory_bounded() -> None:
    released = threading.Event()

    class HangingBus(MemoryBus):
        def publish(self, topic: str, messages: Any) -> list[str]:
            released.wait(10)
            return super().publish(topic, messages)

    bus = HangingBus()
    log = PredictionLog(bus, percent=100.0, bytes_max=1000)

    for _ in range(WAITING_MAX * 3):
        log.offer(b"{}", b"{}", **FACTS)
    released.set()
    log.close()

    assert len(logged(bus)) <= WAITING_MAX + 100


def test_a_bus_that_is_down_costs_only_the_sample() -> None:
    bus = MemoryBus()
    bus.failing = True
    log = PredictionLog(bus, percent=100.0, bytes_max=1000)

    log.offer(b"{}", b"{}", **FACTS)
    log.close()

    bus.failing = False
    assert logged(bus) == []
