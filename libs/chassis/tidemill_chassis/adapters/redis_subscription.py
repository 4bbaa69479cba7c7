"""A consumer group of a stream as the bus port means it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import redis
from tidemill_contracts.bus import DEAD_SUFFIX, Backlog, Delivery
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.memory_bus import dead_letter_of

from tidemill_chassis.adapters.redis_asked import AskedEntries, NotYet
from tidemill_chassis.adapters.redis_entries import (
    Entry,
    NoGroup,
    deliveries_of,
    delivery_of,
    entry_of,
    fields_of,
    is_plain,
    stream_of,
    translated,
)
from tidemill_chassis.adapters.redis_scripts import StreamScripts

PULL_WAIT_S_MAX = 10.0
TRIM_EVERY_S = 5.0
CLAIM_PAGES_MAX = 20
"""A look for expired leases goes through so many pages of them; the next look goes on from there."""
CLAIM_EVERY_S = 1.0
CLAIMS_PER_LEASE = 10
"""While new messages come, expired leases are looked for so often. A look goes through all leases there are:
with 10,000 in hand it took the server 5 ms, as long as handing out 1,500 new messages."""
ASK_BLOCK_MS_MAX = 5_000
"""So long the server waits for new messages before it answers what was asked ahead with nothing."""
LEAVE_WAIT_MS = 100
"""So long an answer may still be on its way when the consumer leaves."""
CONSUMER_IDLE_S_MAX = 3600.0
"""A consumer that asked for nothing so long and holds nothing is dead: it is forgotten."""


class RedisSubscription:
    """Made by `RedisBus.subscribe`."""

    def __init__(
        self,
        client: redis.Redis,
        topic: str,
        name: str,
        consumer: str,
        ack_deadline_s: float,
        attempts_max: int,
        ordered: bool,
    ) -> None:
        self._client = client
        self._topic = topic
        self._key = stream_of(topic)
        self._name = name
        self._consumer = consumer
        self._deadline_ms = int(ack_deadline_s * 1000)
        self._attempts_max = attempts_max
        self._trimmed_at_s = 0.0
        self._claim_from = b"0-0"
        self._claim_every_s = min(CLAIM_EVERY_S, ack_deadline_s / CLAIMS_PER_LEASE)
        self._claim_at_s = 0.0
        self._asked: AskedEntries | None = None
        self._ask_block_ms = min(ASK_BLOCK_MS_MAX, max(1, self._deadline_ms // 2))
        self._keeps_order = ordered
        self._ordered = False  # until the first message with an ordering key: others cost nothing more
        self._scripts = StreamScripts(client, self._key, name, consumer)

    def ensure_group(self) -> None:
        """Make the consumer group if it is new."""
        with translated():
            try:
                self._client.xgroup_create(self._key, self._name, id="0", mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def pull(self, messages_max: int, wait_s: float) -> list[Delivery]:
        try:
            with translated():
                again = self._pull_parked(messages_max)
                if not again and time.monotonic() >= self._claim_at_s:
                    again = self._pull_expired(messages_max)
                return again or self._pull_new(messages_max, wait_s)
        except NoGroup:
            self.ensure_group()
            raise Unavailable(f"the stream of {self._topic} was made anew; pull again") from None

    def _pull_new(self, messages_max: int, wait_s: float) -> list[Delivery]:
        # Redis takes BLOCK 0 for "for ever". Waiting in short blocks also notices leases that expire.
        end_s = time.monotonic() + min(wait_s, PULL_WAIT_S_MAX)
        while True:
            left_ms = max(1, int((end_s - time.monotonic()) * 1000))
            block_ms = min(left_ms, max(1, self._deadline_ms // 2))
            found = self._read_new(messages_max, block_ms)
            entries = found[0][1] if found else []
            if not self._ordered and all(map(is_plain, entries)):
                taken = deliveries_of(entries)
            else:
                turned = self._in_turn(list(map(entry_of, entries)), messages_max) if entries else []
                taken = [delivery_of(entry, fields, 1) for entry, fields in turned]
            if taken:
                return taken
            again = self._pull_expired(messages_max) or self._pull_parked(messages_max)
            if again or time.monotonic() >= end_s:
                return again

    def _read_new(self, messages_max: int, block_ms: int) -> Any:
        """The stream's next entries in its own form; nothing after `block_ms`."""
        if self._asked is None:
            return self._client.xreadgroup(
                self._name, self._consumer, {self._key: ">"}, count=messages_max, block=block_ms
            )
        try:
            found = self._asked.answer(block_ms / 1000)
        except NotYet:
            return None
        except BaseException:
            self._asked = None
            raise
        self._asked = None
        return found

    def ask(self, messages_max: int) -> None:
        """Let the server hand out and send the next messages meanwhile."""
        if self._asked is None:
            with translated():
                self._asked = AskedEntries(
                    self._client, self._key, self._name, self._consumer, messages_max, self._ask_block_ms
                )

    def _pull_expired(self, messages_max: int) -> list[Delivery]:
        for _ in range(CLAIM_PAGES_MAX):
            claimed: Any = self._client.xautoclaim(
                self._key,
                self._name,
                self._consumer,
                min_idle_time=self._deadline_ms,
                start_id=self._claim_from,
                count=messages_max,
            )
            self._claim_from = claimed[0]
            entries = [(entry, fields) for entry, fields in claimed[1] if fields]
            taken = self._in_turn(entries, messages_max) if entries else []
            if taken:
                return self._redelivered(taken)
            if self._claim_from == b"0-0":
                break
        self._claim_at_s = time.monotonic() + self._claim_every_s
        return []

    def _pull_parked(self, messages_max: int) -> list[Delivery]:
        """Entries with an ordering key whose turn has come."""
        taken = self._in_turn([], messages_max) if self._ordered else []
        return self._redelivered(taken) if taken else []

    def _in_turn(self, entries: list[Entry], messages_max: int) -> list[Entry]:
        """Those entries that may be delivered now, and parked ones beside them."""
        if self._keeps_order and not self._ordered:
            self._ordered = any(b"k" in fields for _, fields in entries)
        if not self._ordered:
            return entries
        known = {entry: fields for entry, fields in entries if b"k" in fields}
        free = [(entry, fields) for entry, fields in entries if b"k" not in fields]
        admitted = self._scripts.admit(list(known), messages_max - len(free))
        parked = [entry for entry in admitted if entry not in known]
        if parked:
            pipeline = self._client.pipeline(transaction=False)
            for entry in parked:
                pipeline.xrange(self._key, entry, entry)
            known.update(dict(found[0] for found in pipeline.execute() if found))
        return [(entry, known[entry]) for entry in admitted if entry in known] + free

    def _redelivered(self, entries: list[Entry]) -> list[Delivery]:
        """The entries with their counts of deliveries; those that came too often are put aside."""
        pipeline = self._client.pipeline(transaction=False)
        for entry, _ in entries:
            pipeline.xpending_range(self._key, self._name, entry, entry, 1)
        attempts = [found[0]["times_delivered"] if found else 1 for found in pipeline.execute()]
        deliveries = []
        for (entry, fields), attempt in zip(entries, attempts, strict=True):
            delivery = delivery_of(entry, fields, attempt)
            if attempt > self._attempts_max:
                # A server that is full takes no letter: the message stays leased, its neighbours go on.
                with suppress(redis.ResponseError):
                    self._bury(delivery, f"delivered {self._attempts_max} times without success")
            else:
                deliveries.append(delivery)
        return deliveries

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        if not ack_ids:
            return
        with translated():
            self._client.xack(self._key, self._name, *ack_ids)
            self._trim()

    def give_back(self, ack_ids: Sequence[str], delay_s: float = 0.0) -> None:
        self._set_idle(ack_ids, max(0, self._deadline_ms - int(delay_s * 1000)))
        self._claim_at_s = 0.0

    def extend(self, ack_ids: Sequence[str]) -> None:
        self._set_idle(ack_ids, 0)

    def _set_idle(self, ack_ids: Sequence[str], idle_ms: int) -> None:
        """Turn the leases' clocks; JUSTID keeps the count of deliveries as it is."""
        if not ack_ids:
            return
        with translated():
            self._client.xclaim(
                self._key, self._name, self._consumer, 0, list(ack_ids), idle=idle_ms, justid=True
            )

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        with translated():
            self._bury(delivery, reason)

    def _bury(self, delivery: Delivery, reason: str) -> None:
        """One after the other: a transaction would acknowledge even where the letter is refused."""
        letter = dead_letter_of(delivery, subscription=self._name, reason=reason)
        self._client.xadd(stream_of(self._topic + DEAD_SUFFIX), fields_of(letter))
        self._client.xack(self._key, self._name, delivery.ack_id)

    def backlog(self) -> Backlog:
        with translated():
            groups: Any = self._client.xinfo_groups(self._key)
            group = next(one for one in groups if one["name"].decode() == self._name)
            waiting = group.get("lag")
            if waiting is None:  # before Redis 7, or after entries were deleted: count them
                after = b"(" + group["last-delivered-id"]
                later: Any = self._client.xrange(self._key, min=after, max="+")
                waiting = len(later)
            return Backlog(waiting=int(waiting), leased=int(group["pending"]))

    def _trim(self) -> None:
        """Forget what every group has acknowledged; never what one still has to do."""
        now_s = time.monotonic()
        if now_s - self._trimmed_at_s < TRIM_EVERY_S:
            return
        self._trimmed_at_s = now_s
        oldest_needed: list[tuple[int, int]] = []
        groups: Any = self._client.xinfo_groups(self._key)
        for group in groups:
            needed = group["last-delivered-id"]
            if group["pending"]:
                pending: Any = self._client.xpending(self._key, group["name"])
                needed = pending["min"] or needed
            milliseconds, _, sequence = needed.decode().partition("-")
            oldest_needed.append((int(milliseconds), int(sequence)))
        self._scripts.remove_dead(int(CONSUMER_IDLE_S_MAX * 1000))
        if oldest_needed:
            self._client.xtrim(self._key, minid="{}-{}".format(*min(oldest_needed)), approximate=True)

    def leave(self) -> None:
        """Give back what nobody pulled and forget this consumer; without an answer, another one does so."""
        with suppress(Unavailable, NoGroup), translated():
            found = self._read_new(0, LEAVE_WAIT_MS) if self._asked is not None else None
            self.give_back([entry.decode() for entry, _ in found[0][1]] if found else [])
        if self._asked is not None:
            self._asked.drop()
        with suppress(Unavailable, NoGroup), translated():
            self._scripts.leave()
