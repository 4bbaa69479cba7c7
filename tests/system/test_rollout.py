"""Versions roll out under twenty clients that never pause; not one request fails."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tidemill.sources.bundled_digits import read_bundled_digits
from tidemill_chassis.adapters import open_bus
from tidemill_contracts.envelope import read_any
from tidemill_contracts.events import ModelServing

CLIENTS = 20
ROLLOUTS = 3
WAVE = 500


@pytest.mark.timeout(300)
def test_three_versions_roll_out_without_one_failed_request(platform: Any) -> None:
    train, test = read_bundled_digits()
    waves = iter([train[start : start + WAVE] for start in range(0, len(train), WAVE)])
    count = 0

    def next_wave() -> int:
        nonlocal count
        wave = next(waves)
        platform.publish(wave)
        count += len(wave)
        return int(platform.settle(count).labels.stable or 0)

    first = next_wave()
    platform.wait_for(lambda: platform.predict(test[0].image or b"").status_code == 200, 10)
    stop = threading.Event()
    answers: Counter[int] = Counter()
    failures: list[str] = []
    lock = threading.Lock()

    def predict(number: int) -> None:
        image = test[number].image or b""
        while not stop.is_set():
            try:
                response = platform.predict(image)
                version = int(response.headers.get("X-Tidemill-Model-Version", 0))
                fine = response.status_code == 200 and len(response.json()["predictions"]) == 1
            except httpx.HTTPError as error:
                version, fine, response = 0, False, httpx.Response(599, text=repr(error))
            with lock:
                answers[version] += 1
                if not fine:
                    failures.append(f"{response.status_code} {response.text[:200]}")

    threads = [threading.Thread(target=predict, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        stable = {first}
        while len(stable) <= ROLLOUTS:
            stable.add(next_wave())
        platform.wait_for(lambda: stable <= set(answers))
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert failures == []
    assert len(answers) >= ROLLOUTS + 1, "the versions must have answered in turn"
    assert set(answers) <= set(served_versions(platform))


def served_versions(platform: Any) -> Iterator[int]:
    """Every version that the agent said was serving."""
    bus = open_bus(platform.addresses.bus)
    subscription = bus.subscribe(ModelServing.topic, "test")
    while deliveries := subscription.pull(100, 0.2):
        for delivery in deliveries:
            event = read_any(delivery.message)
            if isinstance(event, ModelServing):
                yield event.version
        subscription.acknowledge([delivery.ack_id for delivery in deliveries])
    bus.close()
