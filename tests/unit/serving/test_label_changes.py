"""Promotion and rollback are one call each, recorded, and never overwrite each other."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from tidemill_contracts.errors import InvalidInput, NotFound
from tidemill_contracts.label_changes import changes, promote, promote_candidate, rollback
from tidemill_contracts.layout import audit_prefix
from tidemill_contracts.manifest import Labels


def test_a_rollback_is_in_force_in_the_next_step_and_recorded(house):
    for version in (1, 2):
        house.publish(version)
        house.steps()

    rollback(house.store, "digits", by="ada", reason="worse on sevens")
    house.rollout.step()

    assert house.server.labelled("digits", "stable") == 1
    assert house.labels == Labels(stable=1, previous=2)
    change = changes(house.store, "digits")[-1]
    assert (change.by, change.action, change.reason) == ("ada", "rollback", "worse on sevens")
    assert (change.labels_before.stable, change.labels_after.stable) == (2, 1)


def test_what_the_agent_promotes_is_recorded_like_what_a_person_does(house):
    for version in (1, 2):
        house.publish(version)
        house.steps()

    first, second = changes(house.store, "digits")

    assert (second.by, second.action) == ("serving-agent", "promote")
    assert "it loaded" in second.reason
    assert (first.labels_after.stable, second.labels_before.stable, second.labels_after.stable) == (1, 1, 2)


def test_a_candidate_that_was_replaced_meanwhile_is_not_promoted(house):
    house.label(stable=1, candidate=3)

    promote_candidate(house.store, "digits", 2, by="serving-agent")

    assert house.labels == Labels(stable=1, candidate=3)
    assert changes(house.store, "digits") == []


def test_changes_of_traffic_in_the_same_record_are_no_changes_of_labels(house):
    house.publish(1)
    house.steps()
    house.store.put(f"{audit_prefix('digits')}a.json", b'{"action": "rollout", "model": "digits"}')

    assert [change.action for change in changes(house.store, "digits")] == ["promote"]


def test_a_rollback_twice_is_where_it_began(house):
    house.label(stable=2, previous=1)

    rollback(house.store, "digits", by="ada")
    rollback(house.store, "digits", by="ada")

    assert house.labels == Labels(stable=2, previous=1)
    assert len(changes(house.store, "digits")) == 2


def test_without_a_previous_version_there_is_no_way_back(house):
    house.label(stable=2)

    with pytest.raises(InvalidInput, match="no previous version"):
        rollback(house.store, "digits", by="ada")

    assert changes(house.store, "digits") == []


def test_an_old_version_can_be_promoted_by_its_number(house):
    house.publish(1, label=False)
    house.label(stable=3, previous=2)

    promote(house.store, "digits", 1, by="ada")

    assert house.labels == Labels(stable=1, previous=3)


def test_a_version_that_does_not_exist_is_not_promoted(house):
    with pytest.raises(NotFound):
        promote(house.store, "digits", 9, by="ada")


def test_two_operators_never_overwrite_each_other(house):
    for version in range(1, 9):
        house.publish(version, label=False)
    house.label(stable=8)
    done = []

    def operate(version):
        done.append(promote(house.store, "digits", version, by=f"operator-{version}"))

    threads = [threading.Thread(target=operate, args=(version,)) for version in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    recorded = changes(house.store, "digits")
    assert len(recorded) == 3
    for earlier, later in pairwise(recorded):
        assert later.labels_before == earlier.labels_after
    assert recorded[-1].labels_after == house.labels
