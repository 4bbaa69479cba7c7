"""Gathers messages by place and says which batch to store now. No clock, no network."""

from __future__ import annotations

from dataclasses import dataclass, field

from tidemill_contracts.bus import Delivery

from tidemill_persistor.admission import Held, Place


@dataclass(frozen=True)
class BatchLimits:
    """When a batch is full or old enough."""

    messages_max: int
    size_bytes_max: int
    age_s_max: float


@dataclass(frozen=True)
class HandLimits:
    """How much may be in hand over all batches."""

    messages_max: int
    size_bytes_max: int


@dataclass(eq=False)
class Batch:
    """Messages of one place, waiting to be stored together.

    opened_at_s: when the first one came.
    renewed: a message came again meanwhile, so that what was acknowledged of it may be an older delivery.
    """

    place: Place
    opened_at_s: float
    held: dict[str, Held] = field(default_factory=dict)
    size_bytes: int = 0
    renewed: bool = False

    def deliveries(self) -> list[Delivery]:
        """By publication, so that the same messages make the same object however they arrived."""
        found = (held.delivery for held in self.held.values())
        return sorted(found, key=lambda delivery: (delivery.publish_time, delivery.message_id))

    def ack_ids(self) -> list[str]:
        return [held.delivery.ack_id for held in self.held.values()]

    def sample_count(self) -> int:
        return sum(held.sample_count for held in self.held.values())


class Hand:
    """Everything pulled and not yet acknowledged, in batches."""

    def __init__(self, batch: BatchLimits, hand: HandLimits) -> None:
        self._batch = batch
        self._limits = hand
        self._open: dict[Place, Batch] = {}
        self._full: list[Batch] = []
        self._begun: list[Batch] = []
        self._where: dict[str, Batch] = {}
        self.size_bytes = 0

    @property
    def message_count(self) -> int:
        return len(self._where)

    def batches(self) -> list[Batch]:
        """Those that nobody stores yet: those that are full first, then by age."""
        return self._full + sorted(self._open.values(), key=_age)

    def add(self, held: Held, now_s: float) -> None:
        """Take the message in. One that is in hand already only renews its delivery.

        A batch that is open has room for one more by count; a message too large for any has one to itself.
        """
        delivery, place, _, size_bytes, _ = held
        ident = delivery.message_id
        if ident in self._where:
            again = self._where[ident]
            again.held[ident] = held
            again.renewed = True
            return
        batch = self._open.get(place)
        limits = self._batch
        if batch is not None and batch.size_bytes + size_bytes > limits.size_bytes_max:
            self._full.append(batch)
            batch = None
        if batch is None:
            batch = self._open[place] = Batch(place, now_s)
        batch.held[ident] = held
        batch.size_bytes += size_bytes
        self._where[ident] = batch
        self.size_bytes += size_bytes
        if batch.size_bytes >= limits.size_bytes_max or len(batch.held) >= limits.messages_max:
            self._full.append(self._open.pop(place))

    def due(self, now_s: float) -> Batch | None:
        """The batch to store now: a full one, else the oldest that waited enough, else none.

        A hand that can take no more gives its largest batch: waiting would only stop the pulling. While
        another is being stored, that one makes room.
        """
        if self._full:
            return self._full[0]
        oldest = min(self._open.values(), key=_age, default=None)
        if oldest is None or now_s - oldest.opened_at_s >= self._batch.age_s_max:
            return oldest
        if self.room() == (0, 0) and not self._begun:
            return max(self._open.values(), key=lambda batch: batch.size_bytes)
        return None

    def due_in_s(self, now_s: float) -> float:
        """Seconds until a batch is due by its age; a whole age for an empty hand."""
        oldest_s = min((batch.opened_at_s for batch in self._open.values()), default=now_s)
        return max(0.0, oldest_s + self._batch.age_s_max - now_s)

    def room(self) -> tuple[int, int]:
        """How many messages and bytes may still be taken in; (0, 0) when either limit is reached."""
        messages = self._limits.messages_max - self.message_count
        size_bytes = self._limits.size_bytes_max - self.size_bytes
        return (messages, size_bytes) if messages > 0 and size_bytes > 0 else (0, 0)

    def begin(self, batch: Batch) -> None:
        """The batch is being stored: it grows no more and is not due, but stays in hand."""
        self._take_out(batch)
        self._begun.append(batch)

    def put_back(self, batch: Batch) -> None:
        """The batch that was begun could not be stored: it is due, before all others, as it is."""
        self._begun.remove(batch)
        self._full.insert(0, batch)

    def remove(self, batch: Batch) -> None:
        """The batch is settled."""
        if batch in self._begun:
            self._begun.remove(batch)
        else:
            self._take_out(batch)
        where = self._where
        for ident in batch.held:
            del where[ident]
        self.size_bytes -= batch.size_bytes

    def _take_out(self, batch: Batch) -> None:
        if batch in self._full:
            self._full.remove(batch)
        else:
            del self._open[batch.place]


def _age(batch: Batch) -> float:
    return batch.opened_at_s
