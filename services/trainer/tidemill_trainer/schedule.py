"""When a round, a retry and a test are due. No clock, no database."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from tidemill_contracts.model_spec import RetrySpec, RoundSpec, TestSpec
from tidemill_registry.records import TestRun, Waiting


def is_round_due(waiting: Waiting, spec: RoundSpec, *, now: datetime, urgent: bool = False) -> bool:
    """Whether enough samples wait, or the oldest has waited long enough, or any wait and it is urgent."""
    if waiting.oldest_at is None:
        return False
    if urgent:
        return True
    stale = now - waiting.oldest_at >= timedelta(seconds=spec.age_s_max)
    return waiting.count >= spec.samples_min or stale


def is_retry_due(
    ignored_count: int, spec: RetrySpec, *, rested_since: datetime | None, now: datetime, unhelpful: int = 0
) -> bool:
    """Whether enough ignored samples wait and the last retry is long enough ago.

    rested_since: when the last retry ended or, before the first one, when samples were first ignored.
    unhelpful: retries since the last one that helped; each makes the rest longer.
    """
    if rested_since is None or ignored_count < spec.samples_min:
        return False
    return now - rested_since >= retry_rest(spec, unhelpful=unhelpful)


def retry_rest(spec: RetrySpec, *, unhelpful: int) -> timedelta:
    """How long the ignored samples rest after so many retries that did not help."""
    if unhelpful * math.log(spec.widening) > math.log(max(1.0, spec.every_s_max / spec.every_s)):
        return timedelta(seconds=spec.every_s_max)
    return timedelta(seconds=min(spec.every_s_max, spec.every_s * spec.widening**unhelpful))


def missed_times(rested_since: datetime, rest: timedelta, *, now: datetime) -> int:
    """How many further times of a schedule have gone by; they become one."""
    return max(0, int((now - rested_since) / rest) - 1)


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
