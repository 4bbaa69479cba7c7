"""When rounds, retries and tests are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tidemill_contracts.model_spec import RetrySpec, RoundSpec, TestSpec
from tidemill_registry.records import TestRun, Waiting
from tidemill_trainer.schedule import is_retry_due, is_round_due, is_test_due, missed_times, retry_rest

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
ROUND = RoundSpec(samples_min=10, age_s_max=60)
RETRY = RetrySpec(every_s=60, samples_min=10)
TEST = TestSpec(every_s=60)


@pytest.mark.parametrize(
    ("count", "age_s", "due"), [(10, 0, True), (9, 59, False), (9, 60, True), (1, 60, True)]
)
def test_a_round_is_due_with_enough_samples_or_after_enough_time(count: int, age_s: int, due: bool) -> None:
    waiting = Waiting(train_count=count, oldest_at=NOON - timedelta(seconds=age_s))

    assert is_round_due(waiting, ROUND, now=NOON) is due


def test_nothing_is_due_when_nothing_waits() -> None:
    assert not is_round_due(Waiting(), ROUND, now=NOON)


@pytest.mark.parametrize(("count", "rested_s", "due"), [(10, 60, True), (9, 999, False), (10, 59, False)])
def test_a_retry_is_due_with_enough_samples_after_a_rest(count: int, rested_s: int, due: bool) -> None:
    rested_since = NOON - timedelta(seconds=rested_s)

    assert is_retry_due(count, RETRY, rested_since=rested_since, now=NOON) is due


def test_every_retry_that_does_not_help_makes_the_rest_longer_up_to_a_limit() -> None:
    spec = RetrySpec(every_s=60, widening=2, every_s_max=300)

    rests = [retry_rest(spec, unhelpful=count).total_seconds() for count in (0, 1, 2, 3, 4, 10_000)]

    assert rests == [60, 120, 240, 300, 300, 300]


def test_times_that_nobody_was_there_for_become_one() -> None:
    rest = timedelta(minutes=1)

    assert missed_times(NOON, rest, now=NOON + timedelta(minutes=1)) == 0
    assert missed_times(NOON, rest, now=NOON + timedelta(minutes=10)) == 9


def test_an_urgent_round_waits_for_no_more_samples_but_not_without_any() -> None:
    assert is_round_due(Waiting(train_count=1, oldest_at=NOON), ROUND, now=NOON, urgent=True)
    assert not is_round_due(Waiting(), ROUND, now=NOON, urgent=True)


def test_no_retry_is_due_before_anything_was_ignored() -> None:
    assert not is_retry_due(10, RETRY, rested_since=None, now=NOON)


def run(version: int, count: int, *, age_s: int) -> TestRun:
    return TestRun("digits", version, NOON - timedelta(seconds=age_s), count, 0.9, 0.1)


@pytest.mark.parametrize(
    ("champion", "count", "last", "due"),
    [
        (1, 10, None, True),
        (2, 10, run(1, 10, age_s=0), True),
        (1, 11, run(1, 10, age_s=60), True),
        (1, 11, run(1, 10, age_s=59), False),
        (1, 10, run(1, 10, age_s=999), False),
        (1, 0, None, False),
        (None, 10, None, False),
    ],
)
def test_a_test_is_due_for_a_new_champion_or_for_new_samples_after_a_rest(
    champion: int | None, count: int, last: TestRun | None, due: bool
) -> None:
    assert is_test_due(champion, count, TEST, last=last, now=NOON) is due
