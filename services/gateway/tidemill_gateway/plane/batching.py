"""Batches across callers: what is queued at the end of an event-loop turn goes out as one call.

No timer while idle: a lone request leaves at once. While a batch of a lane is out, and fewer callers are here
than lately, the next one waits a little for the rest (pace.py); while `in_flight_max` are out, what arrives
forms the next one, so that batches grow with load by themselves.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic

from tidemill_gateway.plane.admission import Admission
from tidemill_gateway.plane.batches import Batches, Observer, Runner
from tidemill_gateway.plane.deadlines import Deadlines
from tidemill_gateway.plane.lanes import Answer, Job, Lane, LaneKey
from tidemill_gateway.plane.pace import Pace
from tidemill_gateway.plane.tensors import Column
from tidemill_gateway.plane.traces import BatchTracer, RequestTrace

PACES_MAX = 1024
"""Lanes whose pace is remembered while nobody uses them."""


@dataclass(frozen=True)
class BatchLimits:
    """in_flight_max: batches of one lane that may be out at once.

    window_s_max: how long a batch may wait for more callers at most, whatever was learned; 0: never.
    """

    rows_max: int = 128
    bytes_max: int = 32 * 2**20
    in_flight_max: int = 2
    window_s_max: float = 0.001


class Batcher:
    """Every request goes through here, whatever dialect it came in. Belongs to one event loop.

    tracer: is told of the batches in which traced requests travel, if anybody traces.
    """

    def __init__(
        self,
        runner: Runner,
        admission: Admission,
        limits: BatchLimits,
        observer: Observer | None = None,
        tracer: BatchTracer | None = None,
    ) -> None:
        self._batches = Batches(runner, admission, observer, tracer)
        self._admission = admission
        self._limits = limits
        self._lanes: dict[LaneKey, Lane] = {}
        self._paces: dict[LaneKey, Pace] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines(self._loop)

    def submit(
        self,
        key: LaneKey,
        columns: tuple[Column, ...],
        rows: int,
        deadline_s: float,
        trace: RequestTrace | None = None,
    ) -> asyncio.Future[Answer]:
        """Queue a request that was validated; the future is its answer. Cancel the future to withdraw it.

        deadline_s: on the monotonic clock, which event loops share.

        Raises:
            Overloaded, TooLarge: as Admission.enter does.
        """
        now_s = monotonic()  # the event loop's own time stands still for a turn and counts milliseconds
        job = Job(columns, rows, deadline_s, now_s, self._loop.create_future())
        self._admission.enter(rows, job.size_bytes, now_s)
        if trace is not None:
            job.trace = trace.queued()
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, self._pace(key))
        lane.join(job)
        lane.send_by_s = min(lane.send_by_s, deadline_s - lane.pace.cost_s(rows))
        self._deadlines.watch(job)
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
        lane.leave(job)
        self._deadlines.forget(job)
        self._admission.leave(job.rows, job.size_bytes)
        if job.trace is not None:
            job.trace.left()

    def _pace(self, key: LaneKey) -> Pace:
        pace = self._paces.get(key)
        if pace is None:
            while len(self._paces) >= PACES_MAX:
                del self._paces[next(iter(self._paces))]
            pace = self._paces[key] = Pace()
        return pace

    def _schedule(self, lane: Lane) -> None:
        if not lane.scheduled and lane.in_flight < self._limits.in_flight_max:
            lane.scheduled = True
            self._loop.call_soon(self._send, lane)

    def _send(self, lane: Lane, *, waited: bool = False) -> None:
        lane.scheduled = False
        limits = self._limits
        while lane.queue and lane.in_flight < limits.in_flight_max and (waited or not self._waits(lane)):
            jobs = lane.take(
                rows_max=int(min(limits.rows_max, lane.pace.share(limits.in_flight_max))),
                bytes_max=limits.bytes_max,
                now_s=monotonic(),
            )
            if not jobs:
                break
            lane.in_flight += 1
            lane.rows_out += sum([job.rows for job in jobs])
            task = self._loop.create_task(self._run(lane, jobs))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if lane.is_idle and self._lanes.get(lane.key) is lane:
            del self._lanes[lane.key]

    def _waits(self, lane: Lane) -> bool:
        """Whether the queue waits for more callers; then a timer ends the wait, if nothing else does.

        It does not while nothing is out, nor when a batch is full, nor when those are here who can be.
        """
        queued = lane.rows_queued
        lane.pace.seen(queued + lane.rows_out)
        if not lane.in_flight or not lane.key.batchable or queued >= self._limits.rows_max:
            return lane.close_window()
        if lane.pace.is_full(queued, lane.rows_out):
            return lane.close_window()
        if lane.window is not None and lane.until_s <= lane.send_by_s:
            return True
        lane.close_window()
        # From now, not from the oldest's arrival: while as many batches were out as may be, waiting cost it
        # nothing, and those whom the last one answered are only now about to ask again.
        now_s = monotonic()
        until_s = min(now_s + lane.pace.window_s(self._limits.window_s_max), lane.send_by_s)
        if until_s <= now_s:
            return False
        lane.until_s = until_s
        lane.window = self._loop.call_at(until_s, self._window_over, lane)
        return True

    def _window_over(self, lane: Lane) -> None:
        """Send behind the requests that were read in this turn, so that they join."""
        lane.close_window()
        self._loop.call_soon(self._send_waited, lane)

    def _send_waited(self, lane: Lane) -> None:
        lane.close_window()  # another may have been opened in this turn
        self._send(lane, waited=True)

    async def _run(self, lane: Lane, jobs: list[Job]) -> None:
        try:
            await self._batches.answer(lane, jobs)
        finally:
            lane.in_flight -= 1
            lane.rows_out -= sum([job.rows for job in jobs])
            self._schedule(lane)
