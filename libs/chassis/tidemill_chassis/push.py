"""Pub/Sub's push requests as deliveries, and as a subscription for workers that pull."""

from __future__ import annotations

import base64
import binascii
import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from tidemill_contracts.bus import DEAD_SUFFIX, Backlog, Bus, Delivery, Message
from tidemill_contracts.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    Malformed,
    NotFound,
    Overloaded,
    Unavailable,
)
from tidemill_contracts.memory_bus import dead_letter_of

from tidemill_chassis.logs import get_logger

log = get_logger(__name__)

WAITING_MAX = 1000
"""Requests that wait for their effect at once; more are answered 429, and Pub/Sub slows down."""
WAIT_S_MAX = 60.0
"""How long a request waits for its effect; then it is answered 503 and comes again. The subscription's
acknowledgement deadline must be longer, or Pub/Sub repeats what is still being stored."""
ATTRIBUTES_MAX = 100
ATTRIBUTE_BYTES_MAX = 1024
"""Pub/Sub's own limits for what is published, dead letters too."""

Receive = Callable[[Delivery], None]
"""Takes a pushed delivery; returns when its effect is durable, raises where it is not."""


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


class _PushedMessage(_Wire):
    message_id: str = Field(min_length=1)
    publish_time: datetime
    data: str = ""
    attributes: dict[str, str] = Field(default_factory=dict)
    ordering_key: str = ""


class _Push(_Wire):
    message: _PushedMessage
    delivery_attempt: int = 1


def parse_push(body: bytes) -> Delivery:
    """The delivery of a push request's body, in Pub/Sub's wrapped form.

    Raises:
        Malformed: the body is not that form: is the subscription set to send unwrapped payloads?
    """
    try:
        push = _Push.model_validate_json(body)
        data = base64.b64decode(push.message.data, validate=True)
    except (ValidationError, binascii.Error) as error:
        raise Malformed("not a push request of Pub/Sub: give the subscription wrapped payloads") from error
    wired = push.message
    return Delivery(
        Message(data, wired.attributes, wired.ordering_key),
        ack_id="",
        message_id=wired.message_id,
        publish_time=wired.publish_time,
        attempt=max(1, push.delivery_attempt),
    )


def put_aside(bus: Bus, topic: str, subscription: str, delivery: Delivery, reason: str) -> None:
    """Publish the delivery to the topic's dead letters, within Pub/Sub's limits.

    Raises:
        Unavailable: the bus did not take it; it must come again.
    """
    letter = dead_letter_of(delivery, subscription=subscription, reason=_cut(reason))
    kept = list(letter.attributes.items())[-ATTRIBUTES_MAX:]  # where from and why stand last, and stay
    bus.publish(topic + DEAD_SUFFIX, [letter._replace(attributes=dict(kept), ordering_key="")])


def _cut(text: str) -> str:
    return text.encode("utf-8", "replace")[:ATTRIBUTE_BYTES_MAX].decode("utf-8", "ignore")


def receive_with(handle: Receive, bus: Bus, topic: str, subscription: str) -> Receive:
    """`handle`, with what it refuses for ever put aside, as `worker.run` does."""

    def receive(delivery: Delivery) -> None:
        try:
            handle(delivery)
        except (InvalidInput, NotFound, Conflict, Corrupt) as error:
            log.warning("dead_lettered", error=error, message_id=delivery.message_id)
            put_aside(bus, topic, subscription, delivery, str(error))

    return receive


@dataclass(eq=False)
class _Waiting:
    delivery: Delivery
    settled: threading.Event = field(default_factory=threading.Event)
    kept: bool = False


class PushSubscription:
    """The subscription port over push requests: each waits in `receive` until its delivery is settled.

    So a worker that gathers what it pulls gathers what is pushed at the same time, and answers each request
    only after its effect is durable. Leases are the requests themselves: `extend` has nothing to do.
    """

    def __init__(
        self,
        bus: Bus,
        topic: str,
        name: str,
        *,
        waiting_max: int = WAITING_MAX,
        wait_s_max: float = WAIT_S_MAX,
    ) -> None:
        self._bus = bus
        self._topic = topic
        self._name = name
        self._waiting_max = waiting_max
        self._wait_s_max = wait_s_max
        self._idents = itertools.count(1)
        self._changed = threading.Condition()
        self._queue: deque[str] = deque()
        self._all: dict[str, _Waiting] = {}
        self._closed = False

    def receive(self, delivery: Delivery) -> None:
        """Hand a pushed delivery to whoever pulls; return when it is acknowledged.

        Raises:
            Overloaded: too many wait already.
            Unavailable: it was given back, or not settled in time; it must come again.
        """
        ident = str(next(self._idents))
        waiting = _Waiting(delivery._replace(ack_id=ident))
        with self._changed:
            if self._closed:
                raise Unavailable("this instance is stopping")
            if len(self._all) >= self._waiting_max:
                raise Overloaded(f"{self._waiting_max} pushed messages wait already")
            self._all[ident] = waiting
            self._queue.append(ident)
            self._changed.notify()
        waiting.settled.wait(self._wait_s_max)
        with self._changed:
            self._all.pop(ident, None)
            if not waiting.kept:
                raise Unavailable("the message could not be kept now")

    def pull(self, messages_max: int, wait_s: float) -> list[Delivery]:
        with self._changed:
            self._changed.wait_for(lambda: self._queue, timeout=wait_s)
            pulled: list[Delivery] = []
            while self._queue and len(pulled) < messages_max:
                waiting = self._all.get(self._queue.popleft())
                if waiting is not None:  # else its request gave up meanwhile
                    pulled.append(waiting.delivery)
            return pulled

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        self._settle(ack_ids, kept=True)

    def give_back(self, ack_ids: Sequence[str], delay_s: float = 0.0) -> None:
        """The requests are answered 503 at once; how soon they come again is the subscription's to say."""
        self._settle(ack_ids, kept=False)

    def extend(self, ack_ids: Sequence[str]) -> None:
        """Nothing: a request waits as long as it waits."""

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        put_aside(self._bus, self._topic, self._name, delivery, reason)
        self.acknowledge([delivery.ack_id])

    def backlog(self) -> Backlog:
        with self._changed:
            return Backlog(waiting=len(self._queue), leased=len(self._all) - len(self._queue))

    def close(self) -> None:
        """Answer whoever still waits: come again."""
        with self._changed:
            self._closed = True
            left = list(self._all)
        self._settle(left, kept=False)

    def _settle(self, ack_ids: Sequence[str], *, kept: bool) -> None:
        with self._changed:
            for ack_id in ack_ids:
                waiting = self._all.get(ack_id)
                if waiting is not None and not waiting.settled.is_set():
                    waiting.kept = kept
                    waiting.settled.set()
