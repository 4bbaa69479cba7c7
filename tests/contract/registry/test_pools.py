"""Pools: what waits, what is used, what is put aside, for how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tidemill_registry import Registry
from tidemill_registry.batches import quarantine
from tidemill_registry.pools import ignored_samples, rehearsable_samples, unused_samples, waiting
from tidemill_registry.records import Ignored, PoolCounts, RoundRecord, Waiting
from tidemill_registry.round_rows import open_round
from tidemill_registry.uses import settle_samples

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
LABELS = ("0", "1")
AddSamples = Callable[..., list[str]]
MakeRound = Callable[..., RoundRecord]


def test_what_no_round_used_waits_since_the_oldest_was_seen(registry: Registry, add: AddSamples) -> None:
    add(3, seen_at=NOON + timedelta(minutes=1))
    add(2, role="validation", name="b")
    add(4, role="test", name="c", seen_at=NOON - timedelta(minutes=1))

    with registry.read() as sql:
        found = waiting(sql, "digits", "digits", LABELS)

    assert found == Waiting(train_count=3, validation_count=2, oldest_at=NOON)


def test_labels_that_the_model_does_not_know_do_not_wait(registry: Registry, add: AddSamples) -> None:
    add(3, label="x")

    with registry.read() as sql:
        assert waiting(sql, "digits", "digits", LABELS) == Waiting()
        assert unused_samples(sql, "digits", "digits", LABELS, limit=9) == []


def test_a_full_round_takes_the_same_share_of_every_label(registry: Registry, add: AddSamples) -> None:
    add(60, label="0")
    add(20, label="1", name="b", seen_at=NOON + timedelta(hours=1))

    with registry.read() as sql:
        chosen = unused_samples(sql, "digits", "digits", LABELS, limit=40)

    assert Counter(sample_id.split("-")[2] for sample_id, _ in chosen) == {"0": 30, "1": 10}


def test_of_one_label_the_oldest_come_first(registry: Registry, add: AddSamples) -> None:
    add(5, name="new", seen_at=NOON + timedelta(hours=1))
    old = add(5, name="old")

    with registry.read() as sql:
        chosen = unused_samples(sql, "digits", "digits", LABELS, limit=5)

    assert [sample_id for sample_id, _ in chosen] == old


def test_samples_of_an_object_in_quarantine_do_not_wait(registry: Registry, add: AddSamples) -> None:
    add(3)

    with registry.write() as sql:
        quarantine(sql, "a", "its digest differs")

    with registry.read() as sql:
        assert waiting(sql, "digits", "digits", LABELS).count == 0


def test_a_promoted_round_leaves_its_samples_used(
    registry: Registry, add: AddSamples, make_round: MakeRound
) -> None:
    train, validation, round_ = add(3), add(2, role="validation"), make_round()

    with registry.write() as sql:
        open_round(sql, round_, "digits", {"train": train, "validation": validation})
        settle_samples(sql, round_, promoted=True, attempts_max=3)

    assert registry.pool_counts("digits", "digits") == PoolCounts(used=5)
    with registry.read() as sql:
        assert rehearsable_samples(sql, "digits", "digits") == train


def test_a_round_that_did_not_help_leaves_its_training_samples_ignored(
    registry: Registry, add: AddSamples, make_round: MakeRound
) -> None:
    train, validation, round_ = add(3), add(2, role="validation"), make_round()

    with registry.write() as sql:
        open_round(sql, round_, "digits", {"train": train, "validation": validation})
        settle_samples(sql, round_, promoted=False, attempts_max=3)

    assert registry.pool_counts("digits", "digits") == PoolCounts(used=2, ignored=3)
    with registry.read() as sql:
        assert ignored_samples(sql, "digits", "digits") == [Ignored(each, 0, "0") for each in train]


def test_a_sample_is_exhausted_after_its_last_retry(
    registry: Registry, add: AddSamples, make_round: MakeRound
) -> None:
    train = add(3)
    rounds = [make_round(1), make_round(2, "retry"), make_round(3, "retry")]

    seen = []
    for round_ in rounds:
        with registry.write() as sql:
            open_round(sql, round_, "digits", {"train": train})
            settle_samples(sql, round_, promoted=False, attempts_max=2)
        seen.append(registry.pool_counts("digits", "digits"))

    assert seen == [PoolCounts(ignored=3), PoolCounts(ignored=3), PoolCounts(exhausted=3)]


def test_rehearsed_samples_stay_used_when_a_round_does_not_help(
    registry: Registry, add: AddSamples, make_round: MakeRound
) -> None:
    old, new = add(3), add(3, name="b")

    with registry.write() as sql:
        open_round(sql, make_round(1), "digits", {"train": old})
        settle_samples(sql, make_round(1), promoted=True, attempts_max=3)
        open_round(sql, make_round(2), "digits", {"train": new, "rehearsal": old})
        settle_samples(sql, make_round(2), promoted=False, attempts_max=3)

    assert registry.pool_counts("digits", "digits") == PoolCounts(used=3, ignored=3)
