"""What may share a batch, and what waits to."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tidemill_gateway.plane.pace import Pace
from tidemill_gateway.plane.tensors import Array, Column


class LaneKey(NamedTuple):
    """Requests share a batch only if all of this is equal.

    inputs: name, dtype and row shape of each input, in the signature's order.
    batchable: False where the model takes no row dimension; then every request is a batch of its own.
    suspect: of callers who sent lately what the model refused.
    """

    model: str
    version: int
    signature: str
    inputs: tuple[tuple[str, int, tuple[int, ...]], ...]
    output_filter: tuple[str, ...] = ()
    batchable: bool = True
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request got.

    outputs: by name, of shape [rows, ...] where the model keeps rows.
    batch_rows: rows of the batch that it was part of.
    queue_s, compute_s: waited before and during the call of the model.
    cached: it was computed for an equal request earlier.
    """

    outputs: dict[str, Array]
    model: str
    version: int
    batch_rows: int
    queue_s: float
    compute_s: float
    cached: bool = False


class JobTrace(Protocol):
    """The wait of one request, or of a piece of one, as a trace sees it."""

    def left(self) -> None:
        """It waits no more: it is on its way to the model, or over. May be said again."""
        ...


class Job:
    """One request, or a piece of one, between admission and answer. Equal only to itself.

    trace: None for one that nobody traces.
    """

    __slots__ = ("columns", "deadline_s", "future", "queued_s", "rows", "size_bytes", "trace")

    def __init__(
        self,
        columns: tuple[Column, ...],
        rows: int,
        deadline_s: float,
        queued_s: float,
        future: asyncio.Future[Answer],
        trace: JobTrace | None = None,
    ) -> None:
        self.columns = columns
        self.rows = rows
        self.size_bytes = columns[0].size_bytes if len(columns) == 1 else sum(c.size_bytes for c in columns)
        self.deadline_s = deadline_s
        self.queued_s = queued_s
        self.future = future
        self.trace = trace


class Lane:
    """The jobs of one key, oldest first, and how many batches, of how many rows, are out.

    send_by_s: when the queue must leave at the latest, for the sake of the tightest deadline in it.
    window: the timer that ends, at until_s, the wait for more callers, where the queue waits.
    """

    __slots__ = (
        "in_flight",
        "key",
        "pace",
        "queue",
        "rows_out",
        "rows_queued",
        "scheduled",
        "send_by_s",
        "until_s",
        "window",
    )

    def __init__(self, key: LaneKey, pace: Pace) -> None:
        self.key = key
        self.pace = pace
        self.rows_queued = 0
        self.rows_out = 0
        self.send_by_s = math.inf
        self.until_s = math.inf
        self.window: asyncio.TimerHandle | None = None
        self.queue: OrderedDict[Job, None] = OrderedDict()
        self.in_flight = 0
        self.scheduled = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is out: the lane may be forgotten."""
        return not self.queue and not self.in_flight and not self.scheduled

    def join(self, job: Job) -> None:
        """Queue it."""
        self.queue[job] = None
        self.rows_queued += job.rows

    def leave(self, job: Job) -> None:
        """Take it out of the queue, if it is there."""
        if job in self.queue:
            del self.queue[job]
            self.rows_queued -= job.rows

    def close_window(self) -> bool:
        """Wait for nobody any more; False."""
        if self.window is not None:
            self.window.cancel()
            self.window = None
        return False

    def take(self, *, rows_max: int, bytes_max: int, now_s: float) -> list[Job]:
        """Remove and return the oldest jobs that fit one batch; those whose time is over stay out of it.

        Cancelled jobs left the queue when they were cancelled; an expired one is left to its own timer.
        """
        taken: list[Job] = []
        rows = size = 0
        while self.queue:
            job = next(iter(self.queue))
            if job.future.done() or job.deadline_s <= now_s:
                self.leave(job)
                continue
            if taken and (rows + job.rows > rows_max or size + job.size_bytes > bytes_max):
                break
            self.leave(job)
            taken.append(job)
            rows += job.rows
            size += job.size_bytes
            if not self.key.batchable:
                break
        if not self.queue:
            self.send_by_s = math.inf
        return taken
