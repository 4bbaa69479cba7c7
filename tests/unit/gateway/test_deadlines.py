"""One timer watches all deadlines, and each still ends its own job, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from tidemill_gateway.errors import DeadlineExceeded
from tidemill_gateway.plane.deadlines import Deadlines
from tidemill_gateway.plane.lanes import Answer, Job

FAR_S = 3600.0


def job(within_s: float) -> Job:
    now_s = monotonic()
    return Job((), 1, now_s + within_s, now_s, asyncio.get_running_loop().create_future())


def test_each_job_ends_at_its_own_deadline_in_whatever_order_they_came(run: Callable[..., Any]) -> None:
    async def scenario() -> None:
        deadlines = Deadlines(asyncio.get_running_loop())
        jobs = [job(within_s) for within_s in (FAR_S, 0.05, 0.01, FAR_S, 0.03)]
        for each in jobs:
            deadlines.watch(each)

        ended = await asyncio.gather(*(jobs[index].future for index in (1, 2, 4)), return_exceptions=True)

        assert [type(error) for error in ended] == [DeadlineExceeded] * 3
        assert not jobs[0].future.done()
        assert not jobs[3].future.done()
        assert monotonic() >= jobs[1].deadline_s - 0.002

    run(scenario())


def test_a_job_that_was_forgotten_is_left_alone(run: Callable[..., Any]) -> None:
    async def scenario() -> None:
        deadlines = Deadlines(asyncio.get_running_loop())
        forgotten, kept = job(0.01), job(0.03)
        deadlines.watch(forgotten)
        deadlines.watch(kept)
        deadlines.forget(forgotten)

        await asyncio.wait([kept.future])

        assert not forgotten.future.done()

    run(scenario())


def test_an_answered_job_keeps_its_answer(run: Callable[..., Any]) -> None:
    async def scenario() -> None:
        deadlines = Deadlines(asyncio.get_running_loop())
        answered, late = job(0.01), job(0.02)
        for each in (answered, late):
            deadlines.watch(each)
        answer = Answer({}, "digits", 1, 1, 0.0, 0.0)
        answered.future.set_result(answer)

        await asyncio.wait([late.future])

        assert answered.future.result() is answer

    run(scenario())
