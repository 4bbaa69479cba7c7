"""The persistor's loop: store what is due, pull what fits, until told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from datetime import UTC, datetime

from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.logs import get_logger
from tidemill_contracts.bus import DEAD_SUFFIX, AsksAhead, Bus, Delivery, Subscription
from tidemill_contracts.dead_samples import sample_letters
from tidemill_contracts.errors import InvalidInput, Unavailable
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.readable import ReadableSamples
from tidemill_contracts.stored_batch import Codec

from tidemill_persistor import measures
from tidemill_persistor.admission import admit
from tidemill_persistor.batching import Batch, Hand
from tidemill_persistor.handlers import SUBSCRIPTION, store_batch
from tidemill_persistor.intake import PULL_MESSAGES_MAX, Intake
from tidemill_persistor.leases import LeaseKeeper
from tidemill_persistor.outage import Outage
from tidemill_persistor.storing import Inline, Kept, Storing

log = get_logger(__name__)

PULL_WAIT_S_MAX = 0.5
"""So soon a stop is noticed while nothing comes."""
FLUSH_S_MAX = 8.0
"""After a stop, how long batches are still stored; what is left then is given back."""


class Worker:
    """Moves messages from a subscription into the store. One thread runs it.

    executor: stores batches beside it; without one, `turn` does.
    """

    def __init__(
        self,
        subscription: Subscription,
        store: ObjectStore,
        bus: Bus,
        *,
        hand: Hand,
        leases: LeaseKeeper,
        codec: Codec = "deflate",
        executor: Executor | None = None,
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
        self._asks = subscription if isinstance(subscription, AsksAhead) else None
        self._storing = Storing(self._keep, executor or Inline())
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
        """Begin to store what is due, then pull once.

        In this order: while the store is down nothing is pulled, and a batch tried again is the same batch.

        Raises:
            Unavailable: the store or the bus did not answer; everything in hand is as it was.
        """
        self._store_due()
        if self.outage.reason:  # nothing is pulled until the store has shown that it answers
            self._storing.wait_for_all()
            self._settle_stored()
        room = self._hand.room()
        if room == (0, 0):
            self._storing.wait_for_one(self._pull_wait_s_max)
            return
        wanted = self._intake.messages_max(room)
        wait_s = min(self._pull_wait_s_max, self._hand.due_in_s(self._clock()))
        waiting = self._hand.due(self._clock()) is not None  # as many are being stored as may be
        deliveries = self._subscription.pull(min(wanted, PULL_MESSAGES_MAX), 0.0 if waiting else wait_s)
        self.outage.over()
        if deliveries:
            self._leases.hold(delivery.ack_id for delivery in deliveries)
            self._ask(wanted - len(deliveries))
            now_s = self._clock()
            sizes = [self._take(delivery, now_s) for delivery in deliveries]
            self._intake.saw(max(sizes), len(sizes))
        elif waiting:
            self._storing.wait_for_one(self._pull_wait_s_max)
        self._measure()

    def _ask(self, messages_max: int) -> None:
        """Let the bus send the next messages while these are looked at: that takes it as long as us."""
        if self._asks is not None and messages_max > 0:
            with suppress(Unavailable):  # the next pull tells
                self._asks.ask(min(messages_max, PULL_MESSAGES_MAX))

    def flush(self) -> None:
        """Store what is in hand for at most FLUSH_S_MAX; give the rest back."""
        end_s = self._clock() + FLUSH_S_MAX
        try:
            self._storing.wait_for_all(FLUSH_S_MAX)
            self._settle_stored()
            while (batches := self._hand.batches()) and self._clock() < end_s:
                self._begin(batches[0])
                self._storing.wait_for_all(max(0.0, end_s - self._clock()))
                self._settle_stored()
        except Unavailable as error:
            log.warning("flush_failed", error=error, messages=self._hand.message_count)
        for batch in self._hand.batches():
            self._give_back(batch)

    def _take(self, delivery: Delivery, now_s: float) -> int:
        """Take the message in hand, or put it aside; the memory that it takes there."""
        if delivery.attempt > 1:
            measures.REDELIVERIES.inc()
        try:
            held = admit(delivery)
        except InvalidInput as error:
            self._put_aside(delivery, error)
            return 0
        if held.parted is not None:
            if not self._put_samples_aside(delivery, held.parted):
                return 0
            held = held._replace(parted=None)
        self._hand.add(held, now_s)
        return held.size_bytes

    def _put_samples_aside(self, delivery: Delivery, found: ReadableSamples) -> bool:
        """Dead-letter the bad samples of a message; False where that fails: then all of it comes again.

        Before the message is kept, so that with the dead-letter topic down no batch waits for it.
        """
        letters = sample_letters(delivery, found, subscription=SUBSCRIPTION)
        try:
            self._bus.publish(SamplesReceived.topic + DEAD_SUFFIX, letters)
        except Unavailable as error:
            self._leases.release([delivery.ack_id])
            log.warning("dead_letter_failed", error=error, message_id=delivery.message_id)
            return False
        measures.DEAD_SAMPLES.inc(len(letters))
        first = found.bad[0].reason
        log.warning(
            "samples_dead_lettered", message_id=delivery.message_id, samples=len(letters), first=first
        )
        return True

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

    def _store_due(self) -> None:
        """Settle what was stored meanwhile, and begin to store what is due."""
        self._settle_stored()
        while not self._storing.is_busy() and (batch := self._hand.due(self._clock())) is not None:
            self._begin(batch)
            self._settle_stored()

    def _begin(self, batch: Batch) -> None:
        self._hand.begin(batch)
        self._storing.start(batch)

    def _keep(self, batch: Batch) -> Kept:
        """Store, announce and acknowledge one batch. Any thread may."""
        started_s = self._clock()
        stored = store_batch(batch, self._store, self._bus, codec=self._codec)
        self._subscription.acknowledge(batch.ack_ids())
        age_s = (datetime.now(UTC) - stored.first_publish_time).total_seconds()
        return Kept(stored, self._clock() - started_s, age_s)

    def _settle_stored(self) -> None:
        """Let go of what is stored; keep what could not be, as it was.

        Raises:
            Unavailable: why a batch could not be stored.
        """
        failed: Unavailable | None = None
        for batch, ended in self._storing.ended():
            try:
                kept = ended.result()
                if batch.renewed:
                    self._subscription.acknowledge(batch.ack_ids())
            except Unavailable as error:
                self._hand.put_back(batch)
                failed = error
            else:
                self._drop(batch)
                _tell(kept)
        if failed is not None:
            raise failed

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


def _tell(kept: Kept) -> None:
    stored, write_s, age_s = kept
    measures.stored(stored, write_s=write_s, age_s=age_s)
    log.info(
        "batch_stored",
        object=stored.object,
        messages=stored.message_count,
        samples=stored.sample_count,
        size_bytes=stored.size_bytes,
        write_ms=round(write_s * 1000, 1),
        age_s=round(age_s, 3),
    )
