"""Deadlines of everything that waits, watched by one timer: to set and cancel one for each costs more."""

from __future__ import annotations

import asyncio
import math
from time import monotonic

from tidemill_gateway.errors import DeadlineExceeded
from tidemill_gateway.plane.lanes import Job

SLACK_S = 0.0005
"""A deadline so near is taken for passed: the event loop's timers count milliseconds."""


class Deadlines:
    """Ends the jobs whose time is over. Belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._open: dict[Job, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at_s = math.inf

    def watch(self, job: Job) -> None:
        """From now on the job ends at its deadline, if it does not end before."""
        self._open[job] = None
        if job.deadline_s < self._looks_at_s:
            self._look_at(job.deadline_s)

    def forget(self, job: Job) -> None:
        """The job has ended. The timer stays: the next deadline is hardly ever earlier."""
        self._open.pop(job, None)

    def _look_at(self, when_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at_s = when_s
        self._timer = self._loop.call_at(when_s, self._look)

    def _look(self) -> None:
        self._timer, self._looks_at_s = None, math.inf
        now_s = monotonic() + SLACK_S
        for job in [job for job in self._open if job.deadline_s <= now_s]:
            del self._open[job]
            if not job.future.done():
                job.future.set_exception(DeadlineExceeded("the deadline passed before the model answered"))
        if self._open:
            self._look_at(min(job.deadline_s for job in self._open))
