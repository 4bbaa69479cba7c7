"""A bus in one process's memory: for tests, and the plainest statement of what the port means."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic

from tidemill_contracts.bus import (
    DEAD_ATTEMPTS,
    DEAD_MESSAGE_ID,
    DEAD_REASON,
    DEAD_SUBSCRIPTION,
    DEAD_SUFFIX,
    Backlog,
    Delivery,
    Message,
)
from tidemill_contracts.errors import Unavailable

MESSAGES_MAX = 1_000_000


@dataclass
class _Topic:
    messages: list[tuple[str, datetime, Message]] = field(default_factory=list)
    groups: dict[str, MemorySubscription] = field(default_factory=dict)


class MemoryBus:
    """failing: when set, every call raises Unavailable, as a broker does that is down."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.failing = False
        self.clock = clock
        self.changed = threading.Condition()
        self._topics: dict[str, _Topic] = {}

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        self.ping()
        with self.changed:
            kept = self._topics.setdefault(topic, _Topic()).messages
            if len(kept) + len(messages) > MESSAGES_MAX:
                raise Unavailable(f"the memory bus holds at most {MESSAGES_MAX} messages a topic")
            ids = [str(len(kept) + index + 1) for index in range(len(messages))]
            new = zip(ids, messages, strict=True)
            kept.extend((ident, datetime.now(UTC), message) for ident, message in new)
            self.changed.notify_all()
        return ids

    def subscribe(
        self,
        topic: str,
        subscription: str,
        *,
        ack_deadline_s: float = 30.0,
        attempts_max: int = 5,
        ordered: bool = True,
    ) -> MemorySubscription:
        self.ping()
        with self.changed:
            groups = self._topics.setdefault(topic, _Topic()).groups
            if subscription not in groups:
                groups[subscription] = MemorySubscription(
                    self, topic, subscription, ack_deadline_s, attempts_max, ordered
                )
            return groups[subscription]

    def published(self, topic: str) -> list[Message]:
        """Every message that a topic ever had, for tests to look at."""
        with self.changed:
            return [message for _, _, message in self._topics.get(topic, _Topic()).messages]

    def log(self, topic: str) -> list[tuple[str, datetime, Message]]:
        """The topic's messages with id and time; hold `changed`."""
        return self._topics[topic].messages

    def ping(self) -> None:
        if self.failing:
            raise Unavailable("the bus does not answer")

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class _Lease:
    delivery: Delivery
    due_s: float


class MemorySubscription:
    """Leases in a dictionary. Made by `MemoryBus.subscribe`."""

    def __init__(
        self,
        bus: MemoryBus,
        topic: str,
        name: str,
        ack_deadline_s: float,
        attempts_max: int,
        ordered: bool,
    ) -> None:
        self._bus = bus
        self._topic = topic
        self._name = name
        self._deadline_s = ack_deadline_s
        self._attempts_max = attempts_max
        self._ordered = ordered
        self._next = 0
        self._parked: list[int] = []  # passed over: an earlier message of their ordering key is leased
        self._leases: dict[str, _Lease] = {}

    def pull(self, messages_max: int, wait_s: float) -> list[Delivery]:
        self._bus.ping()
        end_s = monotonic() + wait_s
        with self._bus.changed:
            while True:
                taken = self._take(messages_max)
                left_s = end_s - monotonic()
                if taken or left_s <= 0:
                    return taken
                self._bus.changed.wait(min(left_s, 0.05))

    def _take(self, messages_max: int) -> list[Delivery]:
        now_s = self._bus.clock()
        taken: list[Delivery] = []
        blocked: set[str] = set()
        for ack_id, lease in list(self._leases.items()):
            key = self._key(lease.delivery.message)
            if len(taken) >= messages_max or lease.due_s > now_s or key in blocked:
                blocked.update({key} - {""})
                continue
            if lease.delivery.attempt >= self._attempts_max:
                self._bury(lease.delivery, f"delivered {lease.delivery.attempt} times without success")
                continue
            again = lease.delivery._replace(attempt=lease.delivery.attempt + 1)
            self._leases[ack_id] = _Lease(again, now_s + self._deadline_s)
            taken.append(again)
        log = self._bus.log(self._topic)
        parked, self._parked = self._parked, []
        while parked or (len(taken) < messages_max and self._next < len(log)):
            position = parked.pop(0) if parked else self._next
            self._next = max(self._next, position + 1)
            ident, published, message = log[position]
            key = self._key(message)
            if key in blocked or len(taken) >= messages_max:
                blocked.update({key} - {""})
                self._parked.append(position)
                continue
            delivery = Delivery(message, ack_id=ident, message_id=ident, publish_time=published, attempt=1)
            self._leases[ident] = _Lease(delivery, now_s + self._deadline_s)
            taken.append(delivery)
        return taken

    def _key(self, message: Message) -> str:
        return message.ordering_key if self._ordered else ""

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        self._bus.ping()
        with self._bus.changed:
            for ack_id in ack_ids:
                self._leases.pop(ack_id, None)

    def give_back(self, ack_ids: Sequence[str], delay_s: float = 0.0) -> None:
        self._move_due(ack_ids, min(delay_s, self._deadline_s))

    def extend(self, ack_ids: Sequence[str]) -> None:
        self._move_due(ack_ids, self._deadline_s)

    def _move_due(self, ack_ids: Sequence[str], after_s: float) -> None:
        self._bus.ping()
        with self._bus.changed:
            for ack_id in ack_ids:
                if ack_id in self._leases:
                    self._leases[ack_id].due_s = self._bus.clock() + after_s
            self._bus.changed.notify_all()

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        self._bus.ping()
        with self._bus.changed:
            self._bury(delivery, reason)

    def _bury(self, delivery: Delivery, reason: str) -> None:
        letter = dead_letter_of(delivery, subscription=self._name, reason=reason)
        self._bus.publish(self._topic + DEAD_SUFFIX, [letter])
        self._leases.pop(delivery.ack_id, None)

    def backlog(self) -> Backlog:
        self._bus.ping()
        with self._bus.changed:
            waiting = len(self._bus.log(self._topic)) - self._next + len(self._parked)
            return Backlog(waiting=waiting, leased=len(self._leases))


def dead_letter_of(delivery: Delivery, *, subscription: str, reason: str) -> Message:
    """The message as it lies in the dead-letter topic: unchanged, with reason and origin beside it."""
    origin = {
        DEAD_REASON: reason[:1024],
        DEAD_SUBSCRIPTION: subscription,
        DEAD_MESSAGE_ID: delivery.message_id,
        DEAD_ATTEMPTS: str(delivery.attempt),
    }
    return delivery.message._replace(attributes={**delivery.message.attributes, **origin})
