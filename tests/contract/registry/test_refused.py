"""Samples that nobody uses are told with the reason, on every database, whatever the text is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from tidemill_contracts.errors import Corrupt
from tidemill_registry import Registry
from tidemill_registry.batches import quarantine
from tidemill_registry.records import RefusedSample
from tidemill_registry.refused_rows import accounted_ids, add_refusals, refusals_of
from tidemill_registry.sample_rows import count_samples
from tidemill_registry.tables import objects

NAUGHTY = "a\0b \ud800 'x\" %s :y \u202e " + "long" * 1000


def refused(
    ident: str | None, *, message: int = 0, sample: int | None = 0, reason: str = "no"
) -> RefusedSample:
    return RefusedSample("a", message, sample, ident, reason)


def test_samples_are_accounted_for_as_rows_or_as_refusals(registry: Registry, add: Any) -> None:
    [known] = add(1)
    with registry.write() as sql:
        add_refusals(sql, "digits", [refused("odd"), refused(None, message=1, sample=None)])

    with registry.read() as sql:
        assert accounted_ids(sql, "digits", [known, "odd", "gone"]) == {known, "odd"}
        assert accounted_ids(sql, "other", [known, "odd", "gone"]) == set()


def test_refusing_twice_keeps_the_first_reason(registry: Registry, add: Any) -> None:
    add(1)
    for reason in ("first", "second"):
        with registry.write() as sql:
            add_refusals(sql, "digits", [refused("odd", reason=reason)])

    with registry.read() as sql:
        assert refusals_of(sql, "digits", ["odd"]) == {"odd": "first"}


def test_a_reason_or_a_fault_of_any_text_is_kept_readable(registry: Registry, add: Any) -> None:
    add(1)

    with registry.write() as sql:
        add_refusals(sql, "digits", [refused("odd", reason=NAUGHTY)])
        quarantine(sql, "a", NAUGHTY)

    with registry.read() as sql:
        reason = refusals_of(sql, "digits", ["odd"])["odd"]
        fault = sql.scalar(select(objects.c.fault))
    assert reason.startswith("a\\x00b \\ud800 'x")
    assert fault is not None
    assert fault.startswith(reason)


def test_a_value_that_the_database_cannot_hold_is_corrupt_and_changes_nothing(
    postgres_url: str, make_registry: Callable[[str], Registry]
) -> None:
    registry = make_registry(postgres_url)

    with pytest.raises(Corrupt, match="cannot hold"), registry.write() as sql:
        sql.execute(objects.insert().values(name="a\0b", dataset="d", split="train", seen_at=None))

    with registry.read() as sql:
        assert count_samples(sql, "d").train == 0
