"""Publishes without pause, and writes down what the bus confirmed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from random import Random

from tidemill_chassis.retry import Backoff
from tidemill_contracts.bus import Bus, Message
from tidemill_contracts.errors import InvalidInput, Unavailable
from tidemill_contracts.events import SamplesReceived

from tidemill.torture.ledger import Ledger
from tidemill.torture.messages import POISON_ID, mixed, pack, poison, split_of

SAMPLES_PER_MESSAGE_MAX = 20
SAMPLES_PER_TURN = 100
REMEMBERED = 2_000
LATE, LATE_STEP = timedelta(days=1), timedelta(minutes=20)
REPEATS = 3
RETRY_FIRST_S = 0.05
RETRY_LIMIT_S = 0.5
FINISH_S_MAX = 60.0


class Producer:
    """A thread that publishes new samples, about `rate_per_s`. A context manager."""

    def __init__(self, bus: Bus, ledger: Ledger, dice: Random, *, rate_per_s: float) -> None:
        self._bus = bus
        self._ledger = ledger
        self._dice = dice
        self._pause_s = SAMPLES_PER_TURN / rate_per_s
        self._next = 0
        self._poisoned = 0
        self._recent: deque[str] = deque(maxlen=REMEMBERED)
        self._asked: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._last = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="producer", daemon=True)
        self.refusals = 0
        self.repeated = 0

    def __enter__(self) -> Producer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._last.set()
        self._thread.join(FINISH_S_MAX)
        self._stop.set()

    def ask_for_repeats(self) -> None:
        """Let some of the latest samples be published again, REPEATS times, packed otherwise than before."""
        self._asked.put(self._repeat)

    def ask_for(self, sample_ids: Sequence[str]) -> None:
        """Let these be published once more: what held them is spoilt."""
        self._asked.put(lambda: self._again(sample_ids))

    def ask_for_late(self) -> None:
        """Let new samples be published that came to pass a day ago, the latest first."""
        self._asked.put(self._late)

    def ask_for_poison(self) -> None:
        """Let one message of every poisonous kind be published, and one of which a single sample is bad."""
        self._asked.put(self._poison)

    def _repeat(self) -> None:
        ids = self._dice.sample(list(self._recent), len(self._recent) // 5)
        for _ in range(REPEATS):
            self._dice.shuffle(ids)
            if self._publish(pack(ids, self._dice, samples_max=SAMPLES_PER_MESSAGE_MAX)):
                self.repeated += len(ids)

    def _late(self) -> None:
        ids = self._take_ids()
        self._ledger.attempt(ids)
        happened = datetime.now(UTC) - LATE
        for number, message in enumerate(pack(ids, self._dice, samples_max=SAMPLES_PER_MESSAGE_MAX)):
            told = {"ce-time": (happened - number * LATE_STEP).isoformat()}
            if not self._publish([message._replace(attributes={**message.attributes, **told})]):
                return
        self._ledger.confirm(ids)
        self._recent.extend(ids)

    def _again(self, sample_ids: Sequence[str]) -> None:
        if self._publish(pack(sample_ids, self._dice, samples_max=SAMPLES_PER_MESSAGE_MAX)):
            self.repeated += len(sample_ids)

    def _poison(self) -> None:
        messages = poison(self._poisoned)
        self._poisoned += 1
        self._dice.shuffle(messages)
        for message in messages:
            with suppress(InvalidInput):  # Pub/Sub takes no text that is not text: then nobody can send it
                if self._publish([message]):
                    self._ledger.confirm_poison([message.attributes[POISON_ID]])
        ids = [ident for ident in self._take_ids() if split_of(ident) == "train"]
        message, ident = mixed(ids, self._poisoned)
        self._ledger.attempt(ids)
        if self._publish([message]):
            self._ledger.confirm(ids)
            self._ledger.confirm_poison([ident])

    def _run(self) -> None:
        while not self._last.wait(self._pause_s):
            ids = self._take_ids()
            self._ledger.attempt(ids)
            if self._publish(pack(ids, self._dice, samples_max=SAMPLES_PER_MESSAGE_MAX)):
                self._ledger.confirm(ids)
                self._recent.extend(ids)
            self._answer()
        self._answer()

    def _take_ids(self) -> list[str]:
        """As many new ids as a turn publishes."""
        first, self._next = self._next, self._next + SAMPLES_PER_TURN
        return [f"s{number}" for number in range(first, self._next)]

    def _answer(self) -> None:
        while not self._asked.empty():
            self._asked.get()()

    def _publish(self, messages: Sequence[Message]) -> bool:
        """Try until the bus confirms; False when the end came first, and nobody knows what arrived."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_LIMIT_S)
        while not self._stop.is_set():
            try:
                self._bus.publish(SamplesReceived.topic, messages)
            except Unavailable:
                self.refusals += 1
                self._stop.wait(backoff.next_s())
            else:
                return True
        return False
