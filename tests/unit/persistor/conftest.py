"""Messages, deliveries and a persistor on the shipped fakes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from tidemill_contracts.bus import Delivery, Message
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.stored_batch import StoredMessage, decode_batch
from tidemill_persistor.batching import BatchLimits, Hand, HandLimits
from tidemill_persistor.handlers import SUBSCRIPTION
from tidemill_persistor.leases import LeaseKeeper
from tidemill_persistor.worker import Worker

LEASE_S = 30.0
NOON = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)

MakeDelivery = Callable[..., Delivery]


def text_message(text: str, dataset: str = "reviews", split: str = "train") -> Message:
    body = f'{{"dataset":"{dataset}","split":"{split}","samples":[{{"label":"good","text":"{text}"}}]}}'
    return Message(body.encode())


@pytest.fixture
def make_message() -> Callable[..., Message]:
    """``make_message(text, dataset=, split=)``: plain JSON with one text sample."""
    return text_message


@pytest.fixture
def make_delivery() -> MakeDelivery:
    """``make_delivery(ident, text=, dataset=, split=, at=)``."""

    def make(
        ident: str, text: str = "fine", dataset: str = "reviews", split: str = "train", at: datetime = NOON
    ) -> Delivery:
        message = text_message(text, dataset, split)
        return Delivery(message, ack_id=ident, message_id=ident, publish_time=at, attempt=1)

    return make


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


BATCH = BatchLimits(messages_max=3, size_bytes_max=10**6, age_s_max=1.0)
HAND = HandLimits(messages_max=12, size_bytes_max=10**7)


@dataclass
class Rig:
    """A worker on a memory bus and a memory store, moved by hand."""

    clock: Clock = field(default_factory=Clock)
    store: MemoryStore = field(default_factory=MemoryStore)
    batch: BatchLimits = BATCH
    hand_limits: HandLimits = HAND
    executor: Executor | None = None

    def __post_init__(self) -> None:
        self.bus = MemoryBus(self.clock)
        self.subscription = self.bus.subscribe(
            "samples", SUBSCRIPTION, ack_deadline_s=LEASE_S, attempts_max=100
        )
        self.leases = LeaseKeeper(self.subscription, LEASE_S)
        self.restart()

    def restart(self) -> None:
        """A new worker that knows nothing, as after SIGKILL."""
        self.hand = Hand(self.batch, self.hand_limits)
        self.leases = LeaseKeeper(self.subscription, LEASE_S)
        self.worker = Worker(
            self.subscription,
            self.store,
            self.bus,
            hand=self.hand,
            leases=self.leases,
            executor=self.executor,
            clock=self.clock,
            pull_wait_s_max=0.005,
        )

    def settle(self) -> None:
        """Turn until nothing waits and what is in hand is old enough and stored."""
        self.worker.turn()
        self.clock.now_s += self.batch.age_s_max
        self.worker.turn()

    def stored(self) -> list[StoredMessage]:
        """Every message in the store."""
        names = [info.name for info in self.store.list("samples/")]
        return [message for name in names for message in decode_batch(self.store.get(name), name)]


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def make_rig() -> Callable[..., Rig]:
    return Rig
