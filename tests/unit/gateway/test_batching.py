"""The batcher: who shares a batch, who waits, who fails, and who does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tidemill_contracts.errors import Malformed, Overloaded, TooLarge, Unavailable
from tidemill_gateway.errors import DeadlineExceeded, VersionGone


async def outcomes(futures: list[asyncio.Future[Any]]) -> list[Any]:
    """Values or errors of all, in order."""
    done = await asyncio.gather(*futures, return_exceptions=True)
    return [one if isinstance(one, BaseException) else one.outputs["y"][:, 1].tolist() for one in done]


def test_requests_of_one_turn_share_a_batch_and_get_their_own_rows(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench()

        answers = await outcomes([bench.submit(1.0, 2.0), bench.submit(3.0), bench.submit(4.0)])

        assert answers == [[1.0, 2.0], [3.0], [4.0]]
        assert [rows for _, rows in bench.model.calls] == [4]

    run(scenario())


def test_a_lone_request_leaves_without_a_timer(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench()
        future = bench.submit(1.0)

        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert len(bench.model.calls) == 1
        await future

    run(scenario())


def test_what_arrives_while_batches_are_out_forms_the_next(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench(in_flight_max=2)
        bench.model.held.clear()
        first = [bench.submit(1.0)]
        await asyncio.sleep(0.01)
        first.append(bench.submit(2.0))
        await asyncio.sleep(0.01)
        later = [bench.submit(float(n)) for n in range(10)]
        await asyncio.sleep(0.01)

        assert [rows for _, rows in bench.model.calls] == [1, 1]
        bench.model.held.set()
        await asyncio.gather(*first, *later)

        assert [rows for _, rows in bench.model.calls] == [1, 1, 10]
        assert bench.model.running_max == 2

    run(scenario())


def test_rows_are_counted_not_requests(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench(rows_max=8)

        await asyncio.gather(*[bench.submit(1.0, 2.0, 3.0) for _ in range(4)])

        assert [rows for _, rows in bench.model.calls] == [6, 6]

    run(scenario())


@pytest.mark.parametrize("other", [{"version": 2}, {"model": "letters"}, {"width": 2}])
def test_unlike_requests_never_share_a_batch(make_bench, run, lane_of, other) -> None:
    async def scenario() -> None:
        bench = make_bench()

        await asyncio.gather(
            bench.submit(1.0, key=lane_of()),
            bench.submit(2.0, key=lane_of(**other)),
            bench.submit(3.0, key=lane_of()),
        )

        assert sorted(rows for _, rows in bench.model.calls) == [1, 2]

    run(scenario())


def test_a_model_without_rows_gets_every_request_alone(make_bench, run, lane_of) -> None:
    async def scenario() -> None:
        bench = make_bench()

        await asyncio.gather(*[bench.submit(1.0, key=lane_of(batchable=False)) for _ in range(3)])

        assert [rows for _, rows in bench.model.calls] == [1, 1, 1]

    run(scenario())


def test_of_64_in_a_batch_only_the_poisoned_the_cancelled_and_the_expired_fail(
    make_bench, run, poison
) -> None:
    async def scenario() -> None:
        bench = make_bench(in_flight_max=1)
        bench.model.held.clear()
        blocker = bench.submit(0.0)
        await asyncio.sleep(0.01)
        futures = [bench.submit(float(n)) for n in range(61)]
        poisoned, cancelled = bench.submit(poison), bench.submit(1.0)
        expired = bench.submit(1.0, within_s=0.02)
        await asyncio.sleep(0.03)
        cancelled.cancel()
        bench.model.held.set()

        answers = await outcomes([*futures, poisoned, cancelled, expired, blocker])

        assert answers[:61] == [[float(n)] for n in range(61)]
        assert isinstance(answers[61], Malformed)
        assert isinstance(answers[62], asyncio.CancelledError)
        assert isinstance(answers[63], DeadlineExceeded)
        assert bench.model.calls[1][1] == 62, "the cancelled and the expired never reached the model"
        assert len(bench.model.calls) <= 2 + 2 * 6

    run(scenario())


def test_a_batch_of_only_dead_members_never_runs(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench(in_flight_max=1)
        bench.model.held.clear()
        blocker = bench.submit(0.0)
        await asyncio.sleep(0.01)
        dead = [bench.submit(1.0, within_s=0.01), bench.submit(2.0)]
        dead[1].cancel()
        await asyncio.sleep(0.02)
        bench.model.held.set()

        await outcomes([*dead, blocker])
        await bench.batcher.drain()

        assert len(bench.model.calls) == 1

    run(scenario())


def test_an_outage_fails_the_batch_at_once_and_is_not_blamed_on_anyone(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench()
        bench.model.down = True

        answers = await outcomes([bench.submit(1.0), bench.submit(2.0)])

        assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
        assert len(bench.model.calls) == 1

    run(scenario())


def test_a_version_that_is_gone_is_said_to_every_request(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench()
        bench.model.gone = {1}

        answers = await outcomes([bench.submit(1.0), bench.submit(2.0)])

        assert [type(answer) for answer in answers] == [VersionGone, VersionGone]

    run(scenario())


def test_a_model_that_mixes_rows_never_answers_one_caller_with_anothers(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench()
        bench.model.forgets_rows = True

        answers = await asyncio.gather(bench.submit(1.0), bench.submit(2.0))

        assert [answer.outputs["y"].tolist() for answer in answers] == [[1.0, 1.0], [1.0, 2.0]]

    run(scenario())


def test_above_the_bound_a_request_is_refused_with_a_time_to_come_back(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench(waiting_max=10)
        await bench.submit(*[1.0] * 10)
        bench.model.held.clear()
        waiting = bench.submit(*[1.0] * 8)

        with pytest.raises(Overloaded) as refused:
            bench.submit(1.0, 2.0, 3.0)

        assert 0 < (refused.value.retry_after_s or 0) < 30
        bench.model.held.set()
        await waiting

    run(scenario())


def test_a_request_that_can_never_fit_is_too_large(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench(waiting_max=10)

        with pytest.raises(TooLarge):
            bench.submit(*[1.0] * 11)

    run(scenario())


def test_when_all_is_answered_nothing_is_left(make_bench, run, poison) -> None:
    async def scenario() -> None:
        bench = make_bench()
        futures = [bench.submit(1.0), bench.submit(poison), bench.submit(2.0, 3.0)]
        futures[0].cancel()

        await outcomes(futures)
        await bench.batcher.drain()
        await asyncio.sleep(0)

        assert (bench.admission.rows, bench.admission.bytes, bench.batcher.lane_count) == (0, 0, 0)

    run(scenario())
