"""The persistor's process, killed and stopped at any moment."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidemill_chassis.adapters.files import FileStore
from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_contracts.bus import Backlog, Message
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.stored_batch import StoredMessage, decode_batch

Eventually = Callable[[Callable[[], bool]], None]
MakeMessage = Callable[..., Message]
Stored = Callable[[ObjectStore], list[StoredMessage]]
DONE = Backlog(waiting=0, leased=0)
KILLS = 8
MESSAGES_PER_ROUND = 400
GIVEN_BACK_S_MAX = 2.0
"""What is given back comes again at once, as what nobody has pulled yet."""


def test_kill_9_at_random_moments_loses_nothing(
    redis_url: str,
    tmp_path: Path,
    make_process: Callable[..., Any],
    make_message: MakeMessage,
    eventually: Eventually,
) -> None:
    bus, store = RedisBus.from_url(redis_url), FileStore(tmp_path / "store")
    subscription = bus.subscribe("samples", "persistor", ack_deadline_s=1.0, attempts_max=100)
    process = make_process(redis_url, tmp_path / "store")
    dice = random.Random(20260504)
    published: dict[str, str] = {}

    for round_number in range(KILLS):
        process.start()
        eventually(process.is_ready)
        names = [f"r{round_number}-{n}" for n in range(MESSAGES_PER_ROUND)]
        ids = bus.publish("samples", [make_message(name) for name in names])
        published.update(zip(ids, names, strict=True))
        process.let_run(dice.uniform(0.0, 0.35))
        process.end(signal.SIGKILL)
    process.start()
    eventually(lambda: subscription.backlog() == DONE)

    announced = announced_batches(bus)
    kept = [message for name in announced for message in decode_batch(store.get(name), name)]
    sample_of = {(message.message_id, json.loads(message.data)["samples"][0]["id"]) for message in kept}
    assert sample_of == set(published.items())
    assert bus.subscribe("samples.dead", "test").backlog() == DONE
    bus.close()


def announced_batches(bus: RedisBus) -> set[str]:
    """Objects that the topic `batches` tells of. One written just before a kill may lie there untold."""
    reader = bus.subscribe("batches", "test")
    found: set[str] = set()
    while deliveries := reader.pull(500, 0.05):
        found |= {json.loads(delivery.message.data)["object"] for delivery in deliveries}
        reader.acknowledge([delivery.ack_id for delivery in deliveries])
    return found


def test_sigterm_under_load_stores_or_gives_back_within_10_s(
    redis_url: str,
    tmp_path: Path,
    make_process: Callable[..., Any],
    make_message: MakeMessage,
    stored: Stored,
    eventually: Eventually,
) -> None:
    bus, store = RedisBus.from_url(redis_url), FileStore(tmp_path / "store")
    subscription = bus.subscribe("samples", "persistor", ack_deadline_s=1.0, attempts_max=100)
    process = make_process(redis_url, tmp_path / "store")
    process.start()
    ids = bus.publish("samples", [make_message(f"s{n}", "x" * 200) for n in range(5000)])
    eventually(lambda: subscription.backlog().waiting < 5000)

    exit_code = process.end(signal.SIGTERM)

    assert exit_code == 0
    kept = [message.message_id for message in stored(store)]
    again: list[str] = []
    while deliveries := subscription.pull(500, GIVEN_BACK_S_MAX):
        again += [delivery.message_id for delivery in deliveries]
        subscription.acknowledge([delivery.ack_id for delivery in deliveries])
    assert kept, "what was in hand is stored, not dropped"
    assert Counter(kept + again) == Counter(ids)
    bus.close()
