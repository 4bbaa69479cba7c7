"""A Pub/Sub subscription as the bus port means it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from tidemill_contracts.bus import Backlog, Delivery
from tidemill_contracts.errors import NotFound, TidemillError, Unavailable

from tidemill_chassis.adapters.pubsub_api import ACKNOWLEDGE, MODIFY_DEADLINE, PUBLISH, PubsubApi, Rpc
from tidemill_chassis.adapters.pubsub_messages import dead_letter, deliveries_of, id_portions, wire_message

LEASE_S_MAX = 600
"""Pub/Sub grants no longer lease at a time."""


class Pulling(Protocol):
    """How messages come: `OutstandingPull` or `StreamingPull`."""

    def take(self, messages_max: int, wait_s: float) -> tuple[list[Any], float]: ...

    def ask(self, messages_max: int) -> None: ...

    def close(self) -> list[Any]: ...


class PubsubSubscription:
    """Made by `PubsubBus.subscribe`.

    Deadlines are whole seconds, rounded up. Where the deadline asked for is another than the subscription's
    own (at least 10 s), every pull is followed by one call that sets it.
    """

    def __init__(
        self,
        api: PubsubApi,
        *,
        path: str,
        name: str,
        dead_topic: str,
        pulling: Pulling,
        own_deadline_s: int,
        ack_deadline_s: float,
        attempts_max: int,
        make_anew: Callable[[], None],
    ) -> None:
        self._api = api
        self._path = path
        self._name = name
        self._dead_topic = dead_topic
        self._deadline_s = whole_seconds(ack_deadline_s)
        self._own_deadline_s = own_deadline_s
        self._attempts_max = attempts_max
        self._make_anew = make_anew
        self._pulling = pulling

    def pull(self, messages_max: int, wait_s: float) -> list[Delivery]:
        try:
            received, waited_s = self._pulling.take(messages_max, wait_s)
        except NotFound as error:
            raise self._gone(error) from error
        if received and (self._deadline_s != self._own_deadline_s or waited_s > self._own_deadline_s / 2):
            self._set_deadline([each.ack_id for each in received], self._deadline_s)
        deliveries = deliveries_of(received)
        for delivery in deliveries:
            if delivery.attempt > self._attempts_max:
                # With the dead-letter topic down, the message stays and comes again; its neighbours go on.
                with suppress(Unavailable):
                    self.dead_letter(delivery, f"delivered {self._attempts_max} times without success")
        return [delivery for delivery in deliveries if delivery.attempt <= self._attempts_max]

    def ask(self, messages_max: int) -> None:
        """As the port says; where that fails, the next pull tells."""
        self._pulling.ask(messages_max)

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        for part in id_portions(ack_ids):
            self._call(ACKNOWLEDGE, ACKNOWLEDGE.request(subscription=self._path, ack_ids=part))

    def give_back(self, ack_ids: Sequence[str], delay_s: float = 0.0) -> None:
        self._set_deadline(ack_ids, min(whole_seconds(delay_s), self._deadline_s))

    def extend(self, ack_ids: Sequence[str]) -> None:
        self._set_deadline(ack_ids, self._deadline_s)

    def _set_deadline(self, ack_ids: Sequence[str], seconds: int) -> None:
        for part in id_portions(ack_ids):
            request = MODIFY_DEADLINE.request(
                subscription=self._path, ack_ids=part, ack_deadline_seconds=seconds
            )
            self._call(MODIFY_DEADLINE, request)

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        letter = wire_message(dead_letter(delivery, subscription=self._name, reason=reason))
        self._call(PUBLISH, PUBLISH.request(topic=self._dead_topic, messages=[letter]))
        self.acknowledge([delivery.ack_id])

    def _call(self, rpc: Rpc, request: Any) -> None:
        try:
            self._api.call(rpc, request)
        except NotFound as error:
            raise self._gone(error) from error

    def _gone(self, error: NotFound) -> Unavailable:
        """An emulator that was started anew has forgotten everything; on the service a person must act."""
        with suppress(NotFound):
            self._make_anew()
            return Unavailable(f"{error}; it was made anew: try again")
        return Unavailable(f"{error}: type `tidemill provision`")

    def backlog(self) -> Backlog:
        raise Unavailable(
            f"Pub/Sub tells no backlog at once: see the metric subscription/num_undelivered_messages of "
            f"{self._path} in Cloud Monitoring"
        )

    def close(self) -> None:
        """Give back what was pulled ahead."""
        with suppress(TidemillError):
            self.give_back([each.ack_id for each in self._pulling.close()])


def whole_seconds(seconds: float) -> int:
    """Rounded up, at most LEASE_S_MAX."""
    return min(LEASE_S_MAX, math.ceil(seconds))
