"""Dead letters: look at them, send them again, or drop them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from tidemill_contracts.bus import (
    DEAD_ATTEMPTS,
    DEAD_MESSAGE_ID,
    DEAD_READER,
    DEAD_REASON,
    DEAD_SAMPLE,
    DEAD_SUBSCRIPTION,
    DEAD_SUFFIX,
    Bus,
    Delivery,
    Message,
    Subscription,
)
from tidemill_contracts.errors import NotFound

LETTERS_MAX = 5_000
"""The most that one command goes through; drop or retry some to reach those behind."""
PULL_MAX = 500
PULL_WAIT_S = 0.5
LEASE_S = 60.0
ATTEMPTS_MAX = 2**31 - 1
"""As good as none: every look at a letter counts as a delivery, and must never bury it a second time."""

_ADDED = frozenset({DEAD_REASON, DEAD_SUBSCRIPTION, DEAD_MESSAGE_ID, DEAD_ATTEMPTS, DEAD_SAMPLE})


@dataclass(frozen=True)
class DeadLetter:
    """What is known of a letter without its body.

    id: in the dead-letter topic. original_id: in the topic that it came from.
    attributes: its own, without those that say why it is dead.
    sample: where its one sample stood in a message that was kept for the others; empty for a whole message.
    """

    id: str
    original_id: str
    reason: str
    subscription: str
    delivery_attempts: str
    died_at: datetime
    size_bytes: int
    attributes: Mapping[str, str]
    sample: str = ""


class DeadLetters:
    """The dead letters of one topic. Two commands at once share them: neither sees what the other holds."""

    def __init__(self, bus: Bus, topic: str, *, pull_wait_s: float = PULL_WAIT_S) -> None:
        self._bus = bus
        self._topic = topic
        self._pull_wait_s = pull_wait_s
        self._subscription: Subscription = bus.subscribe(
            topic + DEAD_SUFFIX, DEAD_READER, ack_deadline_s=LEASE_S, attempts_max=ATTEMPTS_MAX
        )

    def list(self, letters_max: int = LETTERS_MAX) -> list[DeadLetter]:
        """The oldest letters, up to `letters_max`; all of them stay."""
        found: list[DeadLetter] = []

        def look(delivery: Delivery) -> bool:
            found.append(_letter(delivery))
            return False

        self._walk(look, letters_max, enough=lambda: len(found) >= letters_max)
        return sorted(found, key=lambda letter: letter.died_at)[:letters_max]

    def get(self, letter_id: str) -> tuple[DeadLetter, bytes]:
        """One letter with its body; it stays.

        Raises:
            NotFound: there is no such letter.
        """
        found: list[tuple[DeadLetter, bytes]] = []

        def look(delivery: Delivery) -> bool:
            if delivery.message_id == letter_id:
                found.append((_letter(delivery), delivery.message.data))
            return False

        self._walk(look, LETTERS_MAX, enough=lambda: bool(found))
        if not found:
            raise self._unknown({letter_id})
        return found[0]

    def retry(self, ids: Collection[str] | None, body: bytes | None = None) -> int:
        """Send letters again to the topic that they came from, and take them away. None: all of them.

        body: goes out in place of the letter's own. A crash between the two steps sends a letter twice,
        which readers count once.

        Raises:
            NotFound: one of the ids is unknown; the others were sent.
        """

        def again(delivery: Delivery) -> None:
            self._bus.publish(self._topic, [original(delivery.message, body)])

        return self._take(ids, again)

    def drop(self, ids: Collection[str] | None) -> int:
        """Take letters away for ever; raises as `retry` does."""
        return self._take(ids, lambda _delivery: None)

    def _take(self, ids: Collection[str] | None, act: Callable[[Delivery], None]) -> int:
        wanted = None if ids is None else set(ids)
        taken: set[str] = set()

        def settle(delivery: Delivery) -> bool:
            if wanted is not None and delivery.message_id not in wanted:
                return False
            act(delivery)
            taken.add(delivery.message_id)
            return True

        self._walk(settle, LETTERS_MAX, enough=lambda: taken == wanted)
        if wanted is not None and wanted - taken:
            raise self._unknown(wanted - taken)
        return len(taken)

    def _walk(
        self, settles: Callable[[Delivery], bool], letters_max: int, *, enough: Callable[[], bool]
    ) -> None:
        """Show every letter to `settles`; acknowledge those that it settled, give the others back at the end.

        What is not settled stays leased meanwhile, so that no pull brings it a second time.
        """
        held: dict[str, None] = {}
        seen = 0
        try:
            while seen < letters_max and not enough():
                deliveries = self._subscription.pull(min(PULL_MAX, letters_max - seen), self._pull_wait_s)
                if not deliveries:
                    return
                seen += len(deliveries)
                held |= dict.fromkeys(delivery.ack_id for delivery in deliveries)
                for delivery in deliveries:
                    if settles(delivery):
                        self._subscription.acknowledge([delivery.ack_id])
                        del held[delivery.ack_id]
        finally:
            self._subscription.give_back(list(held))

    def _unknown(self, ids: Collection[str]) -> NotFound:
        named = ", ".join(sorted(ids)[:5])
        return NotFound(
            f"{self._topic} has no dead letter {named}: `tidemill dead list --topic {self._topic}` shows them"
        )


def original(letter: Message, body: bytes | None = None) -> Message:
    """The message as it was before it was put aside; with another body where one is given."""
    own = {name: value for name, value in letter.attributes.items() if name not in _ADDED}
    return letter._replace(attributes=own, data=letter.data if body is None else body)


def _letter(delivery: Delivery) -> DeadLetter:
    message = delivery.message
    return DeadLetter(
        id=delivery.message_id,
        original_id=message.attributes.get(DEAD_MESSAGE_ID, ""),
        reason=message.attributes.get(DEAD_REASON, "no reason was given"),
        subscription=message.attributes.get(DEAD_SUBSCRIPTION, ""),
        delivery_attempts=message.attributes.get(DEAD_ATTEMPTS, ""),
        died_at=delivery.publish_time,
        size_bytes=len(message.data),
        attributes=original(message).attributes,
        sample=message.attributes.get(DEAD_SAMPLE, ""),
    )
