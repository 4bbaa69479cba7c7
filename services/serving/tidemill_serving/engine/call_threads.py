"""The threads that answer gRPC calls: few at work at once, and more where calls are held up.

Calls that compute contend for the cores and for Python's lock: with four callers a row cost 0.66 to 0.87 ms
of CPU on eight threads, and 0.51 to 0.58 with as many at work as there are cores (docs/adr/0062). But a call
may also just wait, for a configuration to load or for a long run of a model: such a call gives up its place.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from tidemill_chassis.logs import get_logger

log = get_logger(__name__)

HELD_UP_S = 0.02
"""A call that has lasted so long gives up its place: another thread may start beside it."""

Given = ParamSpec("Given")
Result = TypeVar("Result")
_Work = tuple["Future[Any]", Callable[[], Any]]


class CallThreads(Executor):
    """Runs calls in threads, in the order in which they came.

    at_once: calls at work, without those that are held up. most: threads in all; further calls wait.
    """

    def __init__(self, *, at_once: int, most: int) -> None:
        self._at_once = min(at_once, most)
        self._most = most
        self._waiting: SimpleQueue[_Work | None] = SimpleQueue()
        self._crowded = threading.Event()
        self._closed = threading.Event()
        self._numbers = itertools.count()
        self._counting = threading.Lock()
        self._open = 0
        """Calls that were taken and are not answered."""
        self._since_s: dict[int, float] = {}
        """When each thread's call began; 0 for a thread that has none."""
        for _ in range(self._at_once):
            self._start(self._stay)
        threading.Thread(target=self._relieve, name="grpc-relief", daemon=True).start()

    def submit(
        self, fn: Callable[Given, Result], /, *args: Given.args, **kwargs: Given.kwargs
    ) -> Future[Result]:
        """See `Executor.submit`."""
        if self._closed.is_set():
            raise RuntimeError("no call can be taken any more: the threads were told to end")
        future: Future[Result] = Future()
        with self._counting:
            self._open += 1
            crowded = self._open > self._at_once
        self._waiting.put((future, lambda: fn(*args, **kwargs)))
        if crowded and not self._crowded.is_set():
            self._crowded.set()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads once everything is done that was taken. It does not wait, and cancels nothing."""
        self._closed.set()
        self._crowded.set()
        for _ in range(self._at_once):
            self._waiting.put(None)

    def _start(self, target: Callable[[int], None]) -> None:
        number = next(self._numbers)
        self._since_s[number] = 0.0
        threading.Thread(target=target, args=(number,), name=f"grpc-{number}", daemon=True).start()

    def _stay(self, number: int) -> None:
        while (work := self._waiting.get()) is not None:
            self._do(work, number)

    def _help(self, number: int) -> None:
        """As long as calls wait."""
        try:
            while (work := self._waiting.get_nowait()) is not None:
                self._do(work, number)
            self._waiting.put(None)  # it was meant for a thread that stays
        except Empty:
            pass
        finally:
            del self._since_s[number]

    def _do(self, work: _Work, number: int) -> None:
        future, call = work
        self._since_s[number] = monotonic()
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  (whoever waits for the future is told)
            future.set_exception(error)
        else:
            future.set_result(result)
        self._since_s[number] = 0.0
        with self._counting:
            self._open -= 1

    def _relieve(self) -> None:
        """Start threads in the place of those whose calls are held up while others wait."""
        while not self._closed.is_set():
            self._crowded.wait()
            self._crowded.clear()
            while self._waiting.qsize() and not self._closed.wait(HELD_UP_S):
                late_s = monotonic() - HELD_UP_S
                since_s = list(self._since_s.values())
                at_work = sum(not 0 < each < late_s for each in since_s)
                room = min(self._at_once - at_work, self._most - len(since_s), self._waiting.qsize())
                for _ in range(room):
                    self._start(self._help)
