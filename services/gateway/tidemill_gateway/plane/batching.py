"""Batches across callers: what is queued at the end of an event-loop turn goes out as one call.

No timer while idle: a lone request leaves at once. While `in_flight_max` batches of a lane are out, what
arrives forms the next one, so that batches grow with load by themselves.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tidemill_contracts.errors import InvalidInput, TidemillError

from tidemill_gateway.errors import DeadlineExceeded, ModelFailed
from tidemill_gateway.plane.admission import Admission
from tidemill_gateway.plane.lanes import Answer, Job, Lane, LaneKey
from tidemill_gateway.plane.tensors import Array, Column, join


class Runner(Protocol):
    """Runs one batch on the model."""

    async def run(
        self, key: LaneKey, columns: Sequence[Column], rows: int, timeout_s: float
    ) -> Mapping[str, Array]:
        """The outputs by name.

        Raises:
            InvalidInput, ModelFailed: the batch, or something in it, is at fault.
            VersionGone, Unavailable: nothing in the batch is at fault.
        """
        ...


class Observer(Protocol):
    """Is told of every batch; measures, never decides."""

    def batch_ran(self, key: LaneKey, jobs: Sequence[Job], rows: int, sent_s: float, took_s: float) -> None:
        """A batch came back whole."""
        ...


@dataclass(frozen=True)
class BatchLimits:
    """in_flight_max: batches of one lane that may be out at once."""

    rows_max: int = 128
    bytes_max: int = 32 * 2**20
    in_flight_max: int = 2


class Batcher:
    """Every request goes through here, whatever dialect it came in. Belongs to one event loop."""

    def __init__(
        self, runner: Runner, admission: Admission, limits: BatchLimits, observer: Observer | None = None
    ) -> None:
        self._runner = runner
        self._admission = admission
        self._limits = limits
        self._observer = observer
        self._lanes: dict[LaneKey, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def submit(
        self, key: LaneKey, columns: tuple[Column, ...], rows: int, deadline_s: float
    ) -> asyncio.Future[Answer]:
        """Queue a request that was validated; the future is its answer. Cancel the future to withdraw it.

        deadline_s: on the event loop's clock.

        Raises:
            Overloaded, TooLarge: as Admission.enter does.
        """
        now_s = self._loop.time()
        job = Job(columns, rows, deadline_s, now_s, self._loop.create_future())
        self._admission.enter(rows, job.size_bytes, now_s)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
        lane.queue[job] = None
        job.timer = self._loop.call_at(deadline_s, _expire, job)
        job.future.add_done_callback(lambda _: self._leave(lane, job))
        self._schedule(lane)
        return job.future

    @property
    def lane_count(self) -> int:
        """Lanes that have something waiting or out."""
        return len(self._lanes)

    async def drain(self) -> None:
        """Wait until every batch that is out has come back."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _leave(self, lane: Lane, job: Job) -> None:
        lane.queue.pop(job, None)
        if job.timer is not None:
            job.timer.cancel()
        self._admission.leave(job.rows, job.size_bytes)

    def _schedule(self, lane: Lane) -> None:
        if not lane.scheduled and lane.in_flight < self._limits.in_flight_max:
            lane.scheduled = True
            self._loop.call_soon(self._send, lane)

    def _send(self, lane: Lane) -> None:
        lane.scheduled = False
        limits = self._limits
        while lane.queue and lane.in_flight < limits.in_flight_max:
            now_s = self._loop.time()
            jobs = lane.take(rows_max=limits.rows_max, bytes_max=limits.bytes_max, now_s=now_s)
            if not jobs:
                break
            lane.in_flight += 1
            task = self._loop.create_task(self._run(lane, jobs))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if lane.is_idle:
            self._lanes.pop(lane.key, None)

    async def _run(self, lane: Lane, jobs: list[Job]) -> None:
        try:
            await self._answer(lane.key, jobs)
        finally:
            lane.in_flight -= 1
            self._schedule(lane)

    async def _answer(self, key: LaneKey, jobs: list[Job]) -> None:
        """Answer every job: with its rows, or with the error that is its own.

        A batch that fails for what is in it is halved until the guilty stand alone: about
        2·log2(jobs) further calls for one guilty.
        """
        sent_s = self._loop.time()
        jobs = [job for job in jobs if not job.future.done() and job.deadline_s > sent_s]
        if not jobs:
            return
        rows = sum(job.rows for job in jobs)
        columns = [join(parts) for parts in zip(*(job.columns for job in jobs), strict=True)]
        timeout_s = max(job.deadline_s for job in jobs) - sent_s
        try:
            outputs = await self._runner.run(key, columns, rows, timeout_s)
        except (InvalidInput, ModelFailed) as error:
            await self._isolate(key, jobs, error)
            return
        except TidemillError as error:
            _fail(jobs, error)
            return
        except Exception as error:  # noqa: BLE001  (a bug must fail its batch, not hang its callers)
            _fail(jobs, ModelFailed(f"the batch failed: {error!r}"))
            return
        took_s = self._loop.time() - sent_s
        if len(jobs) > 1 and any(not out.shape or out.shape[0] != rows for out in outputs.values()):
            await self._isolate(key, jobs, ModelFailed("the model does not keep rows apart"))
            return
        self._admission.drain.add(rows, sent_s + took_s)
        if self._observer is not None:
            self._observer.batch_ran(key, jobs, rows, sent_s, took_s)
        _hand_out(key, jobs, outputs, rows, sent_s, took_s)

    async def _isolate(self, key: LaneKey, jobs: list[Job], error: TidemillError) -> None:
        if len(jobs) == 1:
            _fail(jobs, error)
            return
        middle = len(jobs) // 2
        await self._answer(key, jobs[:middle])
        await self._answer(key, jobs[middle:])


def _expire(job: Job) -> None:
    if not job.future.done():
        job.future.set_exception(DeadlineExceeded("the deadline passed before the model answered"))


def _fail(jobs: list[Job], error: TidemillError) -> None:
    """End every job with a copy of its own: a shared one would gather every caller's traceback."""
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(copy.copy(error))


def _hand_out(
    key: LaneKey, jobs: list[Job], outputs: Mapping[str, Array], rows: int, sent_s: float, took_s: float
) -> None:
    """Give each job its own rows, in the order in which they were joined."""
    start = 0
    alone = len(jobs) == 1
    for job in jobs:
        end = start + job.rows
        if not job.future.done():
            own = dict(outputs) if alone else {name: out[start:end] for name, out in outputs.items()}
            job.future.set_result(Answer(own, key.model, key.version, rows, sent_s - job.queued_s, took_s))
        start = end
