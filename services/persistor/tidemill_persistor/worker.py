"""The persistor's loop: store what is due, pull what fits, until told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.logs import get_logger
from tidemill_contracts.bus import Bus, Delivery, Subscription
from tidemill_contracts.errors import InvalidInput, Unavailable
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.stored_batch import Codec

from tidemill_persistor import measures
from tidemill_persistor.admission import admit
from tidemill_persistor.batching import Batch, Hand
from tidemill_persistor.handlers import store_batch
from tidemill_persistor.intake import Intake
from tidemill_persistor.leases import LeaseKeeper
from tidemill_persistor.outage import Outage

log = get_logger(__name__)

PULL_WAIT_S_MAX = 0.5
"""So soon a stop is noticed while nothing comes."""
FLUSH_S_MAX = 8.0
"""After a stop, how long batches are still stored; what is left then is given back."""


class Worker:
    """Moves messages from a subscription into the store. One thread runs it."""

    def __init__(
        self,
        subscription: Subscription,
        store: ObjectStore,
        bus: Bus,
        *,
        hand: Hand,
        leases: LeaseKeeper,
        codec: Codec = "deflate",
        clock: Callable[[], float] = time.monotonic,
        pull_wait_s_max: float = PULL_WAIT_S_MAX,
    ) -> None:
        self._subscription = subscription
        self._store = store
        self._bus = bus
        self._hand = hand
        self._leases = leases
        self._codec = codec
        self._clock = clock
        self._pull_wait_s_max = pull_wait_s_max
        self._intake = Intake()
        self.outage = Outage(clock)

    def run(self, stop: Stop) -> None:
        """Work until `stop`, then store or give back what is in hand."""
        while not stop.is_set():
            try:
                self.turn()
            except Unavailable as error:
                stop.wait(self.outage.pause_s(error))
        self.flush()

    def turn(self) -> None:
        """Store everything due, then pull once.

        In this order: while the store is down nothing is pulled, and a batch tried again is the same batch.

        Raises:
            Unavailable: the store or the bus did not answer; everything in hand is as it was.
        """
        while (batch := self._hand.due(self._clock())) is not None:
            self._settle(batch)
        wait_s = min(self._pull_wait_s_max, self._hand.due_in_s(self._clock()))
        deliveries = self._subscription.pull(self._intake.messages_max(self._hand.room()), wait_s)
        self.outage.over()
        self._leases.hold(delivery.ack_id for delivery in deliveries)
        for delivery in deliveries:
            self._take(delivery)
        self._measure()

    def flush(self) -> None:
        """Store what is in hand for at most FLUSH_S_MAX; give the rest back."""
        end_s = self._clock() + FLUSH_S_MAX
        for batch in self._hand.batches():
            try:
                if self._clock() < end_s:
                    self._settle(batch)
                    continue
            except Unavailable as error:
                log.warning("flush_failed", error=error, messages=len(batch.held))
                end_s = self._clock()
            self._give_back(batch)

    def _take(self, delivery: Delivery) -> None:
        if delivery.attempt > 1:
            measures.REDELIVERIES.inc()
        try:
            held = admit(delivery)
        except InvalidInput as error:
            self._put_aside(delivery, error)
            return
        self._intake.saw(held.size_bytes)
        self._hand.add(held, self._clock())

    def _put_aside(self, delivery: Delivery, reason: InvalidInput) -> None:
        """Dead-letter one message. Where that fails, its lease runs out and it comes again."""
        self._leases.release([delivery.ack_id])
        try:
            self._subscription.dead_letter(delivery, str(reason))
        except Unavailable as error:
            log.warning("dead_letter_failed", error=error, message_id=delivery.message_id)
            return
        measures.DEAD_LETTERS.inc()
        log.warning("dead_lettered", error=reason, message_id=delivery.message_id)

    def _settle(self, batch: Batch) -> None:
        started_s = self._clock()
        stored = store_batch(batch, self._store, self._bus, codec=self._codec)
        self._subscription.acknowledge(batch.ack_ids())
        self._drop(batch)
        took_s = self._clock() - started_s
        age_s = (datetime.now(UTC) - stored.first_publish_time).total_seconds()
        measures.stored(stored, write_s=took_s, age_s=age_s)
        log.info(
            "batch_stored",
            object=stored.object,
            messages=stored.message_count,
            samples=stored.sample_count,
            size_bytes=stored.size_bytes,
            write_ms=round(took_s * 1000, 1),
            age_s=round(age_s, 3),
        )

    def _give_back(self, batch: Batch) -> None:
        try:
            self._subscription.give_back(batch.ack_ids())
        except Unavailable as error:
            log.warning("not_given_back", error=error, messages=len(batch.held))
        self._drop(batch)

    def _drop(self, batch: Batch) -> None:
        self._leases.release(batch.ack_ids())
        self._hand.remove(batch)

    def _measure(self) -> None:
        measures.HELD_MESSAGES.set(self._hand.message_count)
        measures.HELD_BYTES.set(self._hand.size_bytes)
