"""Batches on their way into the store, while the worker pulls and gathers the next ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any, NamedTuple, TypeVar

from tidemill_contracts.events import BatchStored

from tidemill_persistor.batching import Batch

AT_ONCE = 2
"""So many batches are stored at a time: one is encoded and packed while the disk or the broker answers for
the other. Each takes up to twice its size in memory beside what is in hand."""

T = TypeVar("T")


class Kept(NamedTuple):
    """A batch that is stored, announced and acknowledged.

    write_s: what that took. age_s: since its first message was published.
    """

    stored: BatchStored
    write_s: float
    age_s: float


class Inline(Executor):
    """Whoever submits does it: nothing else goes on meanwhile, and what breaks breaks there."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  (a Future holds whatever there was)
            done.set_exception(error)
        return done


class Storing:
    """Runs `keep` on batches, at most AT_ONCE at a time, by the threads of an executor."""

    def __init__(self, keep: Callable[[Batch], Kept], executor: Executor) -> None:
        self._keep = keep
        self._executor = executor
        self._under_way: dict[Future[Kept], Batch] = {}

    def is_busy(self) -> bool:
        """Whether no further batch may be started."""
        return len(self._under_way) >= AT_ONCE

    def start(self, batch: Batch) -> None:
        """Store the batch; `ended` tells when that is over."""
        self._under_way[self._executor.submit(self._keep, batch)] = batch

    def ended(self) -> Iterator[tuple[Batch, Future[Kept]]]:
        """Each batch whose storing is over, once, with how it ended."""
        for future in [one for one in self._under_way if one.done()]:
            yield self._under_way.pop(future), future

    def wait_for_one(self, wait_s: float) -> None:
        """Return when one is over, or none is under way."""
        wait(self._under_way, wait_s, FIRST_COMPLETED)

    def wait_for_all(self, wait_s: float | None = None) -> None:
        """Return when all are over."""
        wait(self._under_way, wait_s)
