"""The bus port: topics in, subscriptions out, delivered at least once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

DEAD_SUFFIX = ".dead"
"""A topic's dead-letter topic is the topic's name and this."""

DEAD_READER = "dead-cli"
"""The subscription through which people look at dead letters."""

DEAD_REASON = "dead-reason"
DEAD_SUBSCRIPTION = "dead-subscription"
DEAD_MESSAGE_ID = "dead-message-id"
DEAD_ATTEMPTS = "dead-delivery-attempts"
DEAD_SAMPLE = "dead-sample-position"
"""Attributes that a dead letter carries beside its own; the last one where it is a single sample."""


NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


made = tuple.__new__
"""``made(Message, (data, attributes, key))`` is the same as calling it, in half the time and unchecked: all
fields must be there. For loops over millions."""


class Message(NamedTuple):
    """What a publisher hands to the bus. A tuple: they are made by the million.

    data: the payload, any bytes.
    attributes: text beside it; names and values are UTF-8.
    ordering_key: messages of one key are delivered in the order published, and none while an earlier one is
        leased by an earlier pull; empty for no order.
    """

    data: bytes
    attributes: Mapping[str, str] = NO_ATTRIBUTES
    ordering_key: str = ""


class Delivery(NamedTuple):
    """A message as a subscription hands it out, held under a lease. A tuple: they are made by the million.

    ack_id: names this delivery to acknowledge, give_back, extend and dead_letter.
    message_id: unique in its topic, the same at every redelivery.
    attempt: 1 at the first delivery.
    """

    message: Message
    ack_id: str
    message_id: str
    publish_time: datetime
    attempt: int


@dataclass(frozen=True)
class Backlog:
    """How much of a topic a subscription has still to do.

    waiting: messages never delivered yet.
    leased: messages delivered and not yet acknowledged.
    """

    waiting: int
    leased: int


class Subscription(Protocol):
    """One consumer group's view of a topic. Every member shares the work.

    A delivery that is neither acknowledged nor extended within the acknowledgement deadline is
    delivered again, to any member.
    """

    def pull(self, messages_max: int, wait_s: float) -> list[Delivery]:
        """Up to `messages_max` deliveries; after `wait_s` without any, an empty list.

        A message that was already delivered `attempts_max` times goes to the dead-letter topic instead.

        Raises:
            Unavailable: the bus did not answer; try again.
        """
        ...

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Done with these: they are not delivered again. Idempotent."""
        ...

    def give_back(self, ack_ids: Sequence[str], delay_s: float = 0.0) -> None:
        """Not done with these: deliver them again after `delay_s` (at most the deadline)."""
        ...

    def extend(self, ack_ids: Sequence[str]) -> None:
        """Still at work on these: their acknowledgement deadline starts anew."""
        ...

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """Put the message aside for a person, with the reason, and acknowledge it."""
        ...

    def backlog(self) -> Backlog:
        """What is left to do.

        Raises:
            Unavailable: the bus did not answer, or tells its backlog elsewhere; the text says where.
        """
        ...


@runtime_checkable
class AsksAhead(Protocol):
    """A subscription that can fetch messages while its caller works on others."""

    def ask(self, messages_max: int) -> None:
        """Ask for the next messages already: a later pull hands them out, at most so many.

        They are leased from when the bus gives them, and nothing extends that until they are pulled. Call it
        from the thread that pulls.

        Raises:
            Unavailable: the bus did not answer; try again.
        """
        ...


class Bus(Protocol):
    """Carries messages from publishers to subscriptions."""

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Hand over the messages; return their ids, in order, once the bus has them all.

        Raises:
            Unavailable: the bus did not confirm. Some may have arrived: publish them all again.
            Overloaded: the bus is full; try again later.
        """
        ...

    def subscribe(
        self,
        topic: str,
        subscription: str,
        *,
        ack_deadline_s: float = 30.0,
        attempts_max: int = 5,
        ordered: bool = True,
    ) -> Subscription:
        """Join a subscription, making it if it is new. A new one starts at the topic's oldest message.

        ordered: keep the order of ordering keys. Without, which is cheaper, messages come as they are there;
        one that was made ordered before stays so on Pub/Sub. All members must say the same.
        """
        ...

    def ping(self) -> None:
        """Return if the bus answers.

        Raises:
            Unavailable: it does not.
        """
        ...

    def close(self) -> None:
        """Let go of connections. Leases run out by themselves."""
        ...
