"""Producers and clients that go on whatever happens, and write down what they were told."""

from __future__ import annotations

import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any
from uuid import uuid4

import httpx

from tests.containers.outside import Digit, Outside

SAMPLES_PER_REQUEST = 2
PUBLISH_PAUSE_S = 0.5
PREDICT_PAUSE_S = 0.1
SCORE_TOLERANCE = 1e-3


class Ledger:
    """A context manager: samples flow and predictions run while it is open.

    name: begins the ids of this run's samples.
    confirmed: what ingest said yes to, by id: the image in Base64 as it was sent.
    wrong: answers that are not what the same version said of the same digit before.
    broken: what ended a producer or a client that should have gone on; must be nothing.
    """

    def __init__(self, outside: Outside, digits: list[Digit]) -> None:
        self.confirmed: dict[str, str] = {}
        self.answered: Counter[int] = Counter()
        self.refused = 0
        self.wrong: list[str] = []
        self.broken: list[str] = []
        self._outside = outside
        self._digits = digits
        self.name = f"ring-{uuid4().hex[:8]}"
        self._said: dict[tuple[int, int], dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        works = (self._publish, self._predict)
        self._threads = [threading.Thread(target=self._go_on, args=(work,), daemon=True) for work in works]

    def __enter__(self) -> Ledger:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def lost(self) -> set[str]:
        """Confirmed, and not in the bucket (yet)."""
        with self._lock:
            confirmed = set(self.confirmed)
        return confirmed - set(self._outside.kept())

    def altered(self) -> list[str]:
        """Kept with another image than was sent."""
        kept = self._outside.kept()
        with self._lock:
            return [
                ident
                for ident, image in self.confirmed.items()
                if ident in kept and kept[ident]["image"] != image
            ]

    def send_again(self, idents: set[str]) -> None:
        """Publish once more under the same ids, as a producer does whose broker lost its memory."""
        for ident in sorted(idents):
            self._outside.publish([self._sample(ident, self.confirmed[ident])])

    def counts(self) -> tuple[int, int]:
        """Samples confirmed, predictions answered."""
        return len(self.confirmed), self.answered.total()

    def _go_on(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:  # noqa: BLE001  (without it a fault would seem to last for ever)
            self.broken.append(traceback.format_exc())

    def _publish(self) -> None:
        number = 0
        while not self._stop.is_set():
            batch = [self._made(number + offset) for offset in range(SAMPLES_PER_REQUEST)]
            number += SAMPLES_PER_REQUEST
            while not self._stop.is_set():
                try:
                    self._outside.publish(batch)
                except httpx.HTTPError:
                    time.sleep(PUBLISH_PAUSE_S)  # the same samples under the same ids
                    continue
                with self._lock:
                    self.confirmed |= {sample["id"]: sample["image"] for sample in batch}
                break
            self._stop.wait(PUBLISH_PAUSE_S)

    def _made(self, number: int) -> dict[str, str]:
        digit = self._digits[number % len(self._digits)].marked(number)
        return {"id": f"{self.name}-{number:08d}", "label": digit.label, "image": digit.b64}

    def _sample(self, ident: str, image: str) -> dict[str, str]:
        number = int(ident.removeprefix(f"{self.name}-"))
        return {"id": ident, "label": self._digits[number % len(self._digits)].label, "image": image}

    def _predict(self) -> None:
        turn = 0
        while not self._stop.is_set():
            which = turn % 20
            turn += 1
            try:
                version, (prediction,) = self._outside.predict([self._digits[which]])
            except httpx.HTTPError:
                self.refused += 1
            else:
                self.answered[version] += 1
                before = self._said.setdefault((version, which), prediction)
                if not _same(before, prediction):
                    self.wrong.append(f"version {version} of digit {which}: {before}, then {prediction}")
            self._stop.wait(PREDICT_PAUSE_S)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one["label"] != other["label"] or one.keys() != other.keys():
        return False
    pairs = zip(one["probabilities"], other["probabilities"], strict=True)
    return all(abs(a - b) < SCORE_TOLERANCE for a, b in pairs)
