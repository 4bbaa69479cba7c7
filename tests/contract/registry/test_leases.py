"""Leases: one holder at a time, late ones recognised."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tidemill_contracts.errors import Conflict
from tidemill_registry import Registry
from tidemill_registry.lease_rows import confirm_lease, release_lease, renew_lease, take_lease
from tidemill_registry.records import Lease

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def take(registry: Registry, holder: str, *, after_s: float = 0.0) -> Lease | None:
    with registry.write() as sql:
        now = NOON + timedelta(seconds=after_s)
        return take_lease(sql, "digits", holder=holder, duration_s=10, now=now)


def test_a_held_lease_is_not_given_to_another(registry: Registry) -> None:
    take(registry, "one")

    assert take(registry, "two", after_s=9) is None


def test_a_lease_that_ran_out_goes_to_the_next_with_a_higher_token(registry: Registry) -> None:
    first = take(registry, "one")

    second = take(registry, "two", after_s=11)

    assert first is not None
    assert second is not None
    assert second.token > first.token


def test_a_renewed_lease_lasts_longer(registry: Registry) -> None:
    lease = take(registry, "one")
    assert lease is not None

    with registry.write() as sql:
        renew_lease(sql, lease, duration_s=10, now=NOON + timedelta(seconds=9))

    assert take(registry, "two", after_s=11) is None


def test_a_released_lease_is_free_at_once(registry: Registry) -> None:
    lease = take(registry, "one")
    assert lease is not None

    with registry.write() as sql:
        release_lease(sql, lease)

    assert take(registry, "two") is not None


def test_who_lost_the_lease_can_neither_renew_nor_confirm_it(registry: Registry) -> None:
    lost = take(registry, "one")
    assert lost is not None
    take(registry, "two", after_s=11)

    with pytest.raises(Conflict), registry.write() as sql:
        renew_lease(sql, lost, duration_s=10, now=NOON + timedelta(seconds=12))
    with pytest.raises(Conflict), registry.write() as sql:
        confirm_lease(sql, lost)


def test_the_holder_confirms_its_lease(registry: Registry) -> None:
    lease = take(registry, "one")
    assert lease is not None

    with registry.write() as sql:
        confirm_lease(sql, lease)
