"""Triggers, decisions, wishes, doubts, lineage and drift: the same on both databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError
from tidemill_contracts.errors import NotFound
from tidemill_registry import Registry
from tidemill_registry.decision_rows import (
    DecisionRecord,
    add_wish,
    answer_wish,
    believed_samples,
    list_wishes,
    open_wishes,
    read_decisions,
    ruling,
    write_decision,
)
from tidemill_registry.doubt_rows import (
    LabelClaim,
    NearDuplicate,
    add_claims,
    add_near,
    add_sketches,
    list_near,
    open_claims,
    read_sketches,
    relabel,
)
from tidemill_registry.drift_rows import DriftMeasure, add_drift, list_drift, newest_tests
from tidemill_registry.lineage import line_of, samples_of, versions_of
from tidemill_registry.pools import ignored_samples, pools_mark, unused_samples
from tidemill_registry.records import RoundRecord, VersionRecord
from tidemill_registry.round_rows import (
    change_round,
    count_validation,
    open_round,
    read_snapshot,
    relabelled_validation,
    retry_history,
)
from tidemill_registry.trigger_rows import (
    KEPT_DAYS,
    Trigger,
    add_triggers,
    handle_triggers,
    is_urgent,
    triggers_of_round,
    waiting_triggers,
)
from tidemill_registry.uses import rank_samples, settle_samples
from tidemill_registry.version_rows import add_version

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
LABELS = ("0", "1")
AddSamples = Callable[..., list[str]]
MakeRound = Callable[..., RoundRecord]


def test_a_trigger_is_kept_once_answered_once_and_forgotten_after_a_month(
    registry: Registry, make_round: MakeRound
) -> None:
    event = Trigger("digits", "batch/a", "event", NOON)
    drift = Trigger("digits", "drift/1", "drift", NOON, urgent=True, missed_count=2)
    with registry.write() as sql:
        open_round(sql, make_round(), "digits", {})
        add_triggers(sql, [event])
        assert not is_urgent(sql, "digits")
        add_triggers(sql, [replace(event, kind="reconcile"), drift])
        assert (is_urgent(sql, "digits"), waiting_triggers(sql, "digits")) == (True, 2)
        handle_triggers(sql, "digits", "digits-1", now=NOON)
        add_triggers(sql, [event])

    with registry.read() as sql:
        assert waiting_triggers(sql, "digits") == 0
        assert triggers_of_round(sql, "digits-1") == [event, drift]
    with registry.write() as sql:
        handle_triggers(sql, "digits", None, now=NOON + timedelta(days=KEPT_DAYS + 1))
        assert triggers_of_round(sql, "digits-1") == []


def test_a_decision_is_read_back_with_its_numbers_and_replaced_by_a_later_one(
    registry: Registry, make_round: MakeRound
) -> None:
    first = DecisionRecord("digits-1", NOON, False, "no", {"gain": 0.1, "classes": {"0": {"samples": 3}}})
    second = replace(first, promote=True, reason="yes")
    with registry.write() as sql:
        open_round(sql, make_round(), "digits", {})
        write_decision(sql, first)
        assert read_decisions(sql, "digits") == {"digits-1": first}
        write_decision(sql, second)
        assert read_decisions(sql, "digits") == {"digits-1": second}


def test_a_wish_is_open_until_it_is_answered_and_the_last_word_on_a_round_holds(registry: Registry) -> None:
    with registry.write() as sql:
        for action in ("force", "veto"):
            add_wish(sql, action, scope="digits", subject="digits-1", by="ada", why="so", at=NOON)
        first, second = open_wishes(sql, "digits", "force", "veto")
        answer_wish(sql, first, "done", now=NOON)
        answer_wish(sql, first, "done again", now=NOON)

        assert open_wishes(sql, "digits", "force", "veto") == [second]
        assert [each.result for each in list_wishes(sql, "digits")] == ["done", None]
        assert ruling(sql, "digits", "digits-1") == second
        assert ruling(sql, "digits", "digits-2") is None


def test_a_sample_in_doubt_is_in_no_pool_until_it_is_relabelled(registry: Registry, add: AddSamples) -> None:
    first, second = add(2)
    with registry.write() as sql:
        before = pools_mark(sql, "digits", "digits")
        add_claims(sql, "digits", [LabelClaim(first, "0", "1", "train", "a", first, NOON)] * 2)
        assert [each[0] for each in unused_samples(sql, "digits", "digits", LABELS, limit=9)] == [second]
        (claim,) = open_claims(sql, "digits")
        assert (claim.kept_label, claim.label) == ("0", "1")

        assert relabel(sql, "digits", first, "1", now=NOON) == 1

        assert open_claims(sql, "digits") == []
        assert len(unused_samples(sql, "digits", "digits", LABELS, limit=9)) == 2
        assert pools_mark(sql, "digits", "digits") != before
        with pytest.raises(NotFound):
            relabel(sql, "digits", "nobody", "1", now=NOON)


def test_a_round_keeps_the_labels_it_was_opened_with_and_the_next_validates_with_the_new_ones(
    registry: Registry, add: AddSamples, make_round: MakeRound
) -> None:
    train, (validation,) = add(1), add(1, role="validation")
    with registry.write() as sql:
        open_round(sql, make_round(1), "digits", {"train": train, "validation": [validation]})
        settle_samples(sql, make_round(1), promoted=True, attempts_max=3)
        add_claims(sql, "digits", [LabelClaim(validation, "0", "1", "validation", "a", "x", NOON)])
        assert relabelled_validation(sql, "digits") == []
        relabel(sql, "digits", validation, "1", now=NOON)
        assert relabelled_validation(sql, "digits") == [validation]

        open_round(sql, make_round(2), "digits", {"validation": [validation]})

        then, now = read_snapshot(sql, make_round(1)), read_snapshot(sql, make_round(2))
        assert [row.label for row in then["validation"]] == ["0"]
        assert [row.label for row in now["validation"]] == ["1"]
        assert count_validation(sql, "digits") == 1
        assert relabelled_validation(sql, "digits") == []


def test_sketches_and_likenesses_are_kept_once(registry: Registry, add: AddSamples) -> None:
    (train,), (test,) = add(1), add(1, role="test")
    with registry.write() as sql:
        for _ in range(2):
            add_sketches(sql, "digits", {train: "0" * 64}, is_test=False)
            add_near(sql, "digits", [NearDuplicate(test, train, 3)], now=NOON)

        assert read_sketches(sql, "digits", is_test=False) == {train: "0" * 64}
        assert read_sketches(sql, "digits", is_test=True) == {}
        assert list_near(sql, "digits") == [NearDuplicate(test, train, 3)]


def test_a_version_is_made_of_its_whole_lines_samples(
    registry: Registry, add: AddSamples, make_round: MakeRound
) -> None:
    old, new = add(2), add(2, name="b")
    with registry.write() as sql:
        open_round(sql, make_round(1), "digits", {"train": old})
        settle_samples(sql, make_round(1), promoted=True, attempts_max=3)
        open_round(sql, make_round(2), "digits", {"train": new, "rehearsal": old[:1]})
        for number, parent in ((1, None), (2, 1)):
            version = VersionRecord("digits", number, f"digits-{number}", parent, "0" * 64, NOON, 0.9, 0.1)
            add_version(sql, version)

        made = samples_of(sql, line_of(sql, "digits", 2))
        assert sorted((each.version, each.part, each.sample_id) for each in made) == sorted(
            [(1, "train", each) for each in old]
            + [(2, "train", each) for each in new]
            + [(2, "rehearsal", old[0])]
        )
        assert [each.version for each in versions_of(sql, "digits", old[0])] == [1, 2]
        with pytest.raises(NotFound):
            line_of(sql, "digits", 3)


def test_retries_that_did_not_help_are_counted_since_the_last_that_did(
    registry: Registry, make_round: MakeRound
) -> None:
    with registry.write() as sql:
        for number, status in enumerate(("ignored", "promoted", "ignored", "ignored"), start=1):
            open_round(sql, make_round(number, "retry"), "digits", {})
            change_round(sql, f"digits-{number}", status=status)

        assert retry_history(sql, "digits") == (4, 2)
        assert retry_history(sql, "other") == (0, 0)


def test_the_champions_trouble_with_an_ignored_sample_is_kept(
    registry: Registry, add: AddSamples, make_round: MakeRound
) -> None:
    train = add(2)
    with registry.write() as sql:
        open_round(sql, make_round(1), "digits", {"train": train})
        settle_samples(sql, make_round(1), promoted=False, attempts_max=3)
        rank_samples(sql, make_round(1), "digits", {train[0]: 0.5})

        assert [each.loss for each in ignored_samples(sql, "digits", "digits")] == [0.5, None]


def test_drift_is_read_back_in_order_and_measured_on_the_newest_tests(
    registry: Registry, add: AddSamples
) -> None:
    add(2, role="test", name="old")
    new = add(2, role="test", name="new", seen_at=NOON + timedelta(hours=1))
    found = [DriftMeasure("digits", 1, NOON, "inputs", name, 0.1, 9) for name in ("brightness", "contrast")]
    with registry.write() as sql:
        add_drift(sql, found)

        assert list_drift(sql, "digits") == found
        assert newest_tests(sql, "digits", limit=2) == set(new)


def test_a_decision_of_no_round_is_refused(registry: Registry) -> None:
    with pytest.raises(IntegrityError), registry.write() as sql:
        write_decision(sql, DecisionRecord("nobody", NOON, False, "no", {}))


def test_samples_are_believed_once_a_round_that_asked_about_them_found_no_doubt(
    registry: Registry, add: AddSamples, make_round: MakeRound
) -> None:
    asked, doubted, unasked = add(3), add(3, name="b"), add(3, name="c")
    told = ((asked, {"doubt": None}), (doubted, {"doubt": "they look shuffled"}), (unasked, None))
    for number, (train, agreement) in enumerate(told, 1):
        round_ = replace(make_round(), id=f"digits-{number}", number=number)
        with registry.write() as sql:
            open_round(sql, round_, "digits", {"train": train, "rehearsal": unasked[:1]})
            write_decision(
                sql, DecisionRecord(round_.id, NOON, False, "not better", {"agreement": agreement})
            )

    with registry.read() as sql:
        ids = [*asked, *doubted, *unasked]
        assert believed_samples(sql, "digits", "digits", ids, before=4) == set(asked)
        assert believed_samples(sql, "digits", "digits", ids[1:2], before=4) == {asked[1]}
        assert believed_samples(sql, "digits", "digits", ids, before=1) == set()
        assert believed_samples(sql, "letters", "digits", ids, before=4) == set()
