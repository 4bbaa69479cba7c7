"""What is done to the streams: poison, with its dead letters down, copies, a storm, and what comes late."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from tidemill_chassis.adapters.redis_entries import stream_of
from tidemill_contracts.bus import DEAD_SUFFIX
from tidemill_contracts.events import BatchStored, SamplesReceived

from tidemill.torture.rig import Fault, Rig

STORM_EVENTS, STORM_COPIES = 20, 500


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
def _event_storm(rig: Rig) -> Iterator[None]:
    """What was announced last is announced over and over: each of it may open one round, and be new once."""
    stream = stream_of(BatchStored.topic)
    client = redis.Redis.from_url(rig.ground.bus_url)
    latest: Any = client.xrevrange(stream, count=STORM_EVENTS)
    for _ in range(STORM_COPIES):
        pipeline = client.pipeline(transaction=False)
        for _, fields in latest:
            pipeline.xadd(stream, fields)
        pipeline.execute()
    client.close()
    yield


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
    Fault(
        "event-storm",
        "the latest objects are announced 500 times more, all at once",
        "stream redis",
        _event_storm,
        1.0,
        "own broker",
    ),
    Fault("late", "samples come a day late, the latest first", "stream", _late, 0.1),
)
