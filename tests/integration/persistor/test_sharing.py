"""Several persistors on one subscription share the work, and nothing is lost when one of them dies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tidemill_chassis.adapters import open_bus
from tidemill_chassis.adapters.files import FileStore

PROCESSES = 3
AT_ONCE = 60
SHARED_S_MAX = 60.0
"""So long is published at most until each of them has had some."""
PAUSE_S = 0.02


@pytest.fixture(params=["redis", "pubsub"])
def bus_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "pubsub":
        for name, value in request.getfixturevalue("pubsub_emulator").environ.items():
            monkeypatch.setenv(name, value)
        yield str(request.getfixturevalue("pubsub_url"))
    else:
        yield str(request.getfixturevalue("redis_url"))


@pytest.mark.timeout(240)
def test_three_persistors_share_the_work_and_one_that_dies_leaves_it_to_the_others(
    bus_url: str,
    tmp_path: Path,
    make_process: Callable[..., Any],
    make_message: Callable[..., Any],
    stored: Callable[..., Any],
    eventually: Callable[..., None],
) -> None:
    bus, store = open_bus(bus_url), FileStore(tmp_path / "store")
    dead = bus.subscribe("samples.dead", "test")
    processes = [make_process(bus_url, tmp_path / "store") for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        eventually(process.is_ready)
    published: set[str] = set()

    def publish_some() -> None:
        names = [f"s{len(published) + n}" for n in range(AT_ONCE)]
        bus.publish("samples", [make_message(name) for name in names])
        published.update(names)

    end_s = time.monotonic() + SHARED_S_MAX
    while not all(shares := [process.messages_stored() for process in processes]):
        assert time.monotonic() < end_s, f"one of them had nothing to do: {shares}"
        publish_some()
        time.sleep(PAUSE_S)
    publish_some()
    processes[0].end()
    publish_some()

    eventually(lambda: published <= {_sample(message.data) for message in stored(store)})
    assert {_sample(message.data) for message in stored(store)} == published
    assert dead.pull(10, 0.5) == []
    bus.close()


def _sample(data: bytes) -> str:
    return data.decode().partition('"id":"')[2].partition('"')[0]
