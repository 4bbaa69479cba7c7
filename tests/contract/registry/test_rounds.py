"""Rounds, versions, test runs and objects as they are written and read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from tidemill_contracts.errors import NotFound
from tidemill_registry import Registry
from tidemill_registry.batches import mark_indexed, pending_objects, quarantine, see_objects
from tidemill_registry.records import (
    ObjectCounts,
    RoundRecord,
    SampleCounts,
    StoredObject,
    TestRun,
    VersionRecord,
)
from tidemill_registry.round_rows import (
    change_round,
    count_validation,
    get_round,
    next_number,
    open_round,
    read_snapshot,
    rested_since,
    unfinished_round,
)
from tidemill_registry.tables import round_objects
from tidemill_registry.version_rows import add_test_run, add_version, last_test_run, last_version

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
AddSamples = Callable[..., list[str]]
MakeRound = Callable[..., RoundRecord]


def test_a_round_is_read_back_as_it_was_opened(registry: Registry, make_round: MakeRound) -> None:
    round_ = make_round()

    with registry.write() as sql:
        open_round(sql, round_, "digits", {})

    assert registry.rounds("digits") == [round_]
    assert registry.running_round("digits") == round_


def test_a_closed_round_runs_no_more(registry: Registry, make_round: MakeRound) -> None:
    with registry.write() as sql:
        open_round(sql, make_round(), "digits", {})
        change_round(sql, "digits-1", status="ignored", reason="no better", closed_at=NOON)

    with registry.read() as sql:
        assert unfinished_round(sql, "digits") is None
        assert get_round(sql, "digits-1").reason == "no better"
        assert next_number(sql, "digits") == 2


def test_a_retry_rests_since_the_first_round_that_did_not_help_then_since_the_last_retry(
    registry: Registry, make_round: MakeRound
) -> None:
    seen = []
    for number, status in enumerate(("promoted", "ignored", "failed"), start=1):
        with registry.write() as sql:
            open_round(sql, make_round(number), "digits", {})
            change_round(sql, f"digits-{number}", status=status, closed_at=NOON + timedelta(hours=number))
            seen.append(rested_since(sql, "digits"))
    with registry.write() as sql:
        open_round(sql, make_round(4, "retry"), "digits", {})
        change_round(sql, "digits-4", status="ignored", closed_at=NOON + timedelta(hours=4))
        seen.append(rested_since(sql, "digits"))

    assert seen == [None, *(NOON + timedelta(hours=hours) for hours in (2, 2, 4))]


def test_two_rounds_of_a_model_cannot_share_a_number(registry: Registry, make_round: MakeRound) -> None:
    with registry.write() as sql:
        open_round(sql, make_round(), "digits", {})

    with pytest.raises(IntegrityError), registry.write() as sql:
        open_round(sql, replace(make_round(), id="another"), "digits", {})


def test_an_unknown_round_is_not_found(registry: Registry) -> None:
    with pytest.raises(NotFound), registry.read() as sql:
        get_round(sql, "digits-9")


def test_a_snapshot_holds_the_validation_samples_of_every_round_before(
    registry: Registry, add: AddSamples, make_round: MakeRound
) -> None:
    rounds = [make_round(number) for number in (1, 2, 3)]
    validation = [add(2, role="validation", name=f"v{round_.number}") for round_ in rounds]
    train = [add(3, name=f"t{round_.number}") for round_ in rounds]
    with registry.write() as sql:
        for round_, mine, theirs in zip(rounds, train, validation, strict=True):
            open_round(sql, round_, "digits", {"train": mine, "validation": theirs})

    with registry.read() as sql:
        snapshot = read_snapshot(sql, rounds[1])
        counted = count_validation(sql, "digits")

    assert [row.sample_id for row in snapshot["train"]] == train[1]
    assert [row.sample_id for row in snapshot["validation"]] == validation[0] + validation[1]
    assert counted == 6


def test_the_use_of_every_object_by_a_round_is_kept(
    registry: Registry, add: AddSamples, make_round: MakeRound
) -> None:
    a, b = add(3, name="a"), add(2, name="b")

    with registry.write() as sql:
        open_round(sql, make_round(), "digits", {"train": a, "rehearsal": b})

    with registry.read() as sql:
        used = sql.execute(select(round_objects.c.object, round_objects.c.sample_count)).all()
    assert sorted(map(tuple, used)) == [("a", 3), ("b", 2)]


def test_samples_are_counted_by_role(registry: Registry, add: AddSamples) -> None:
    add(3)
    add(2, role="validation")
    add(1, role="test")

    assert registry.sample_counts("digits") == SampleCounts(train=3, validation=2, test=1)


def test_an_object_waits_until_it_is_indexed_or_in_quarantine(registry: Registry) -> None:
    found = [StoredObject(name, "digits", "train") for name in "abc"]
    with registry.write() as sql:
        see_objects(sql, found, now=NOON)
        see_objects(sql, found[:1], now=NOON + timedelta(days=1))

        mark_indexed(sql, "a", sha256="0" * 64, counts=ObjectCounts(sample_count=3), now=NOON)
        quarantine(sql, "b", "no Avro container")

    with registry.read() as sql:
        assert [each.name for each in pending_objects(sql, "digits", limit=9)] == ["c"]


def test_a_version_number_is_never_used_twice(registry: Registry, make_round: MakeRound) -> None:
    version = VersionRecord("digits", 4, "digits-1", None, "0" * 64, NOON, 0.9, 0.3)

    with registry.write() as sql:
        open_round(sql, make_round(), "digits", {})
        add_version(sql, version)
        add_version(sql, version)
        change_round(sql, "digits-1", challenger_version=7)

    assert registry.versions("digits") == [version]
    with registry.read() as sql:
        assert last_version(sql, "digits") == 7


def test_test_runs_are_kept_in_order(registry: Registry) -> None:
    runs = [TestRun("digits", version, NOON, 100, 0.9, 0.3) for version in (1, 2)]

    with registry.write() as sql:
        for run in runs:
            add_test_run(sql, run)

    assert registry.test_runs("digits") == runs
    with registry.read() as sql:
        assert last_test_run(sql, "digits") == runs[1]
        assert last_test_run(sql, "others") is None
