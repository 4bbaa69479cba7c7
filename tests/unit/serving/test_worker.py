"""The agent's loop of one model: what ends its pauses."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.manifest import Labels
from tidemill_serving import worker
from tidemill_serving.worker import ModelLoop

LONG_S = 3600.0


@pytest.fixture
def loop(house, monkeypatch) -> Iterator[ModelLoop]:
    """A running loop that pauses for an hour after a failure, unless something ends the pause."""
    monkeypatch.setattr(worker, "BACKOFF_FIRST_S", 2 * LONG_S)
    monkeypatch.setattr(worker, "BACKOFF_LIMIT_S", 2 * LONG_S)
    house.publish(1)
    house.server.failing = True
    made, stop = ModelLoop(house.model, house.rollout, poll_s=0.01), Stop()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    yield made
    stop.set()
    made.wake()
    thread.join(30)
    assert not thread.is_alive()


def test_a_model_server_that_is_back_is_told_at_once_what_to_serve(house, loop, wait_for):
    wait_for(lambda: "does not answer" in (loop.trouble or ""), 30)

    house.server.failing = False

    wait_for(lambda: house.labels == Labels(stable=1), 30)
    wait_for(lambda: loop.trouble is None, 30)
