"""What is done to the stream itself: poison, with its dead letters down, copies, and what comes late."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from tidemill_chassis.adapters.redis_entries import stream_of
from tidemill_contracts.bus import DEAD_SUFFIX
from tidemill_contracts.events import SamplesReceived

from tidemill.torture.rig import Fault, Rig


@contextmanager
def _poison(rig: Rig) -> Iterator[None]:
    rig.producer.ask_for_poison()
    yield


@contextmanager
def _dead_letters_down(rig: Rig) -> Iterator[None]:
    """In the place of the dead letters' stream stands something else; poison comes all the same."""
    dead = stream_of(SamplesReceived.topic + DEAD_SUFFIX)
    away = f"{dead}.away"
    client = redis.Redis.from_url(rig.ground.bus_url)
    pipeline = client.pipeline(transaction=True)  # a letter that came in between would be overwritten
    pipeline.rename(dead, away)
    pipeline.set(dead, "not a stream")
    pipeline.execute()
    rig.producer.ask_for_poison()
    yield
    pipeline = client.pipeline(transaction=True)
    pipeline.delete(dead)
    pipeline.rename(away, dead)
    pipeline.execute()
    client.close()


@contextmanager
def _late(rig: Rig) -> Iterator[None]:
    rig.producer.ask_for_late()
    yield


@contextmanager
def _duplicates(rig: Rig) -> Iterator[None]:
    rig.producer.ask_for_repeats()
    yield


STREAM_FAULTS = (
    Fault("poison", "messages of every kind that no reader could read", "stream", _poison, 0.1),
    Fault(
        "duplicates",
        "a fifth of the latest samples is published three times more",
        "stream",
        _duplicates,
        0.1,
    ),
    Fault(
        "dead-letters-down",
        "the dead letters' topic refuses everything while poison comes",
        "stream redis",
        _dead_letters_down,
        1.5,
        "own broker",
    ),
    Fault("late", "samples come a day late, the latest first", "stream", _late, 0.1),
)
