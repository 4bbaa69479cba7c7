"""Clients that predict without pause and write down every answer."""

from __future__ import annotations

import base64
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

import httpx

from tidemill.sources.raw_sample import RawSample

CLIENT_COUNT = 4
PAUSE_S = 0.02
REQUEST_TIMEOUT_S = 10.0
FAILURES_KEPT = 5


@dataclass
class Answers:
    """What the clients have seen so far.

    right: correct answers by version. refused_before: requests before the first version answered.
    failures: the first few failures in words.
    """

    by_version: Counter[int] = field(default_factory=Counter)
    right: Counter[int] = field(default_factory=Counter)
    refused_before: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return sum(self.by_version.values())


class Clients:
    """Predict the digits in turn, CLIENT_COUNT at a time, while the context is open.

    Until the first answer a refusal is expected: there is no model yet. From then on it is a failure.
    """

    def __init__(self, url: str, digits: Sequence[RawSample]) -> None:
        self.answers = Answers()
        self._url = url
        self._digits = digits
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._predict, args=(number,), name=f"client-{number}", daemon=True)
            for number in range(CLIENT_COUNT)
        ]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(REQUEST_TIMEOUT_S)

    def _predict(self, number: int) -> None:
        with httpx.Client(timeout=REQUEST_TIMEOUT_S) as client:
            turn = number
            while not self._stop.is_set():
                self._predict_one(client, self._digits[turn % len(self._digits)])
                turn += CLIENT_COUNT
                time.sleep(PAUSE_S)

    def _predict_one(self, client: httpx.Client, digit: RawSample) -> None:
        body = {"instances": [{"b64": base64.b64encode(digit.image or b"").decode()}]}
        had_answer = self.answers.answered > 0
        try:
            response = client.post(self._url, json=body)
        except httpx.HTTPError as error:
            self._failed(f"no answer: {error!r}", had_answer)
            return
        version = response.headers.get("X-Tidemill-Model-Version", "")
        if response.status_code != 200 or not version.isdigit():
            self._failed(f"HTTP {response.status_code}: {response.text[:200]}", had_answer)
            return
        prediction = response.json()["predictions"][0]
        with self._lock:
            self.answers.by_version[int(version)] += 1
            self.answers.right[int(version)] += prediction["label"] == digit.label

    def _failed(self, said: str, had_answer: bool) -> None:
        with self._lock:
            if not had_answer:
                self.answers.refused_before += 1
                return
            self.answers.failed += 1
            if len(self.answers.failures) < FAILURES_KEPT:
                self.answers.failures.append(said)
