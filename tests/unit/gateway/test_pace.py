"""How long a batch waits for more callers, and what that is learned from."""

from __future__ import annotations

import asyncio
import random

import pytest
from tidemill_gateway.plane.pace import Pace


def taught(fixed_s: float, row_s: float, sizes: list[int], noise: float = 0.0) -> Pace:
    """A pace that saw batches of those sizes, of that cost."""
    chance = random.Random(7)
    pace = Pace()
    for rows in sizes:
        pace.ran(rows, (fixed_s + row_s * rows) * (1 + noise * chance.uniform(-1, 1)))
    return pace


def test_the_fixed_part_and_the_rows_part_are_told_apart() -> None:
    pace = taught(0.002, 0.0001, [1, 8, 32, 4, 64, 16])

    assert pace.fixed_s == pytest.approx(0.002)
    assert pace.row_s == pytest.approx(0.0001)
    assert pace.cost_s(10) == pytest.approx(0.003)


def test_noise_moves_the_parts_but_never_below_nothing() -> None:
    for _ in range(20):
        pace = taught(0.0, 0.0001, [random.Random(3).randrange(1, 64) for _ in range(30)], noise=0.5)
        assert pace.fixed_s >= 0.0
        assert pace.row_s >= 0.0


def test_batches_of_one_size_tell_the_whole_and_nothing_of_its_parts() -> None:
    pace = taught(0.002, 0.0001, [8] * 10)

    assert pace.cost_s(8) == pytest.approx(0.0028)


def test_what_changed_is_learned_anew() -> None:
    pace = taught(0.002, 0.0, [1, 2] * 10)
    for rows in [1, 2] * 40:
        pace.ran(rows, 0.0002)

    assert pace.fixed_s == pytest.approx(0.0002, rel=0.1)


def test_nobody_waits_longer_than_a_call_costs_nor_than_is_allowed() -> None:
    assert taught(0.0004, 0.0, [1, 2, 4]).window_s(0.001) == pytest.approx(0.0004)
    assert taught(0.5, 0.0, [1, 2, 4]).window_s(0.001) == 0.001
    assert Pace().window_s(0.001) == 0.0


def test_callers_who_went_away_are_forgotten() -> None:
    pace = Pace()
    pace.seen(64)
    assert not pace.is_full(8, 0)

    for _ in range(40):
        pace.ran(8, 0.001)
        pace.seen(8)

    assert pace.is_full(8, 0)


def test_who_is_out_with_a_batch_is_not_counted_as_present() -> None:
    pace = Pace()
    pace.seen(64)

    assert not pace.is_full(2, 32), "32 are about to ask again"
    assert pace.is_full(16, 32)
    assert pace.is_full(1, 62), "nearly all are out: nobody else can come"


def test_many_callers_are_parted_among_the_batches_that_may_be_out() -> None:
    pace = taught(0.001, 0.0001, [8, 16, 32])
    pace.seen(64)

    assert 64 / 3 < pace.share(2) < 32, "and a part of a third is read meanwhile"
    assert 32 < pace.share(1) < 64


def test_few_callers_share_a_batch_and_so_do_all_where_rows_cost_next_to_nothing() -> None:
    few, by_the_call = taught(0.001, 0.0001, [2, 4, 8]), taught(0.01, 0.00001, [8, 16, 32])
    few.seen(16)
    by_the_call.seen(64)

    assert few.share(2) == 16
    assert by_the_call.share(2) > 64


def test_a_crowd_is_parted(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench(in_flight_max=2)
        await _teach(bench, fixed_s=0.001, row_s=0.0001, callers=40)
        futures = [bench.submit(float(n)) for n in range(40)]
        await asyncio.gather(*futures)

        assert [rows for _, rows in bench.model.calls] == [16, 16, 8]

    run(scenario())


def test_who_waited_for_a_free_place_still_waits_for_those_just_answered(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench(in_flight_max=2, window_s_max=0.2)
        await _teach(bench, fixed_s=0.2, callers=8)
        bench.model.held = first_held = asyncio.Event()
        first = [bench.submit(float(n)) for n in range(3)]
        await asyncio.sleep(0.01)
        bench.model.held = asyncio.Event()
        second = [bench.submit(float(n)) for n in range(3, 6)]
        await asyncio.sleep(0.01)
        assert [rows for _, rows in bench.model.calls] == [3, 3], "as many batches are out as may be"
        waited = [bench.submit(6.0)]
        await asyncio.sleep(0.3)
        first_held.set()
        await asyncio.gather(*first)
        again = [bench.submit(7.0), bench.submit(8.0)]
        await asyncio.sleep(0.01)

        assert [rows for _, rows in bench.model.calls] == [3, 3, 3]
        bench.model.held.set()
        await asyncio.gather(*second, *waited, *again)

    run(scenario())


def test_while_a_batch_is_out_and_callers_are_missing_the_next_one_waits_for_them(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench(in_flight_max=2, window_s_max=0.2)
        await _teach(bench, fixed_s=0.2, callers=8)
        bench.model.held.clear()
        out = [bench.submit(0.0)]
        await asyncio.sleep(0.01)
        early = [bench.submit(1.0), bench.submit(2.0)]
        await asyncio.sleep(0.02)
        assert [rows for _, rows in bench.model.calls] == [1], "the two wait"
        late = [bench.submit(float(n)) for n in range(3, 8)]
        await asyncio.sleep(0.01)

        assert [rows for _, rows in bench.model.calls] == [1, 7], "all are here: nobody waits any more"
        bench.model.held.set()
        await asyncio.gather(*out, *early, *late)

    run(scenario())


def test_the_wait_ends_though_nobody_comes(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench(in_flight_max=2, window_s_max=0.05)
        await _teach(bench, fixed_s=0.05, callers=8)
        bench.model.held.clear()
        futures = [bench.submit(0.0)]
        await asyncio.sleep(0.01)
        futures.append(bench.submit(1.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(bench.model.calls) == 1
        while len(bench.model.calls) < 2:
            await asyncio.sleep(0.005)

        bench.model.held.set()
        await asyncio.gather(*futures)

    run(scenario())


def test_the_wait_ends_when_nothing_is_out_any_more(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench(in_flight_max=2, window_s_max=4.0)
        await _teach(bench, fixed_s=4.0, callers=8)
        bench.model.held.clear()
        futures = [bench.submit(0.0)]
        await asyncio.sleep(0.01)
        futures.append(bench.submit(1.0))
        await asyncio.sleep(0.01)
        assert len(bench.model.calls) == 1
        bench.model.held.set()

        await asyncio.wait_for(asyncio.gather(*futures), 2.0)

    run(scenario())


def test_the_tightest_deadline_ends_the_wait(make_bench, run) -> None:
    async def scenario() -> None:
        bench = make_bench(in_flight_max=2, window_s_max=4.0)
        await _teach(bench, fixed_s=0.5, callers=8)
        bench.model.held.clear()
        futures = [bench.submit(0.0)]
        await asyncio.sleep(0.01)
        futures += [bench.submit(1.0), bench.submit(2.0, within_s=0.4)]
        await asyncio.sleep(0.01)

        assert [rows for _, rows in bench.model.calls] == [1, 2]
        bench.model.held.set()
        await asyncio.gather(*futures)

    run(scenario())


class Sure(Pace):
    """A pace that learns no more."""

    def ran(self, rows: int, took_s: float) -> None:
        """Nothing new."""


async def _teach(bench, *, fixed_s: float, callers: int, row_s: float = 0.0) -> None:
    """The lane has met so many callers at once, and believes that calls and their rows cost so much."""
    await asyncio.gather(*[bench.submit(float(n)) for n in range(callers)])
    await bench.batcher.drain()
    await asyncio.sleep(0)
    bench.model.calls.clear()
    sure = Sure()
    sure.seen(callers)
    sure.fixed_s, sure.row_s = fixed_s, row_s
    (key,) = bench.batcher._paces
    bench.batcher._paces[key] = sure
