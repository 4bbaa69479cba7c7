"""When a round, a retry and a test are due. No clock, no database."""

from __future__ import annotations

from datetime import datetime, timedelta

from tidemill_contracts.model_spec import RetrySpec, RoundSpec, TestSpec
from tidemill_registry.records import TestRun, Waiting


def is_round_due(waiting: Waiting, spec: RoundSpec, *, now: datetime) -> bool:
    """Whether enough samples wait, or the oldest has waited long enough."""
    if waiting.oldest_at is None:
        return False
    stale = now - waiting.oldest_at >= timedelta(seconds=spec.age_s_max)
    return waiting.count >= spec.samples_min or stale


def is_retry_due(
    ignored_count: int, spec: RetrySpec, *, rested_since: datetime | None, now: datetime
) -> bool:
    """Whether enough ignored samples wait and the last retry is long enough ago.

    rested_since: when the last retry ended or, before the first one, when samples were first ignored.
    """
    if rested_since is None or ignored_count < spec.samples_min:
        return False
    return now - rested_since >= timedelta(seconds=spec.every_s)


def is_test_due(
    champion: int | None, sample_count: int, spec: TestSpec, *, last: TestRun | None, now: datetime
) -> bool:
    """Whether the champion should be measured: at once when it is new, later when test samples came."""
    if champion is None or sample_count == 0:
        return False
    if last is None or last.version != champion:
        return True
    rested = now - last.ran_at >= timedelta(seconds=spec.every_s)
    return rested and sample_count != last.sample_count
