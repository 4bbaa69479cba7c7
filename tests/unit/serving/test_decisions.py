"""What should be where, decided without a server."""

from __future__ import annotations

from tidemill_contracts.manifest import Labels
from tidemill_serving.engine.states import State
from tidemill_serving.model_server import ServerState
from tidemill_serving.rollout import forgotten, labelled_versions, removable, server_labels

AVAILABLE = ServerState(State.AVAILABLE)


def test_the_stable_version_is_needed_first():
    assert labelled_versions(Labels(stable=2, previous=1, candidate=3)) == [2, 3, 1]


def test_a_version_with_two_labels_is_needed_once():
    assert labelled_versions(Labels(stable=2, candidate=2)) == [2]


def test_the_last_good_version_stands_in_for_a_stable_one_that_does_not_answer():
    labels = Labels(stable=3, previous=1)

    assert server_labels(labels, 2, {1, 2}) == {"previous": 1, "stable": 2}


def test_the_previous_version_stands_in_when_no_last_good_one_is_known():
    assert server_labels(Labels(stable=3, previous=1), None, {1}) == {"previous": 1, "stable": 1}


def test_no_label_goes_to_a_version_that_does_not_answer():
    assert server_labels(Labels(stable=3, previous=1, candidate=4), None, set()) == {}


def test_a_server_that_ended_a_declared_version_without_error_has_forgotten_it():
    assert forgotten({1: ServerState(State.END)}, {1})
    assert not forgotten({1: ServerState(State.END, "broken")}, {1})
    assert not forgotten({1: AVAILABLE}, {1})


def test_files_stay_while_the_server_holds_the_version():
    states = {1: ServerState(State.UNLOADING), 2: ServerState(State.END)}

    assert removable({1, 2, 3, 4}, {4}, states, keep_versions=2) == {2}


def test_the_newest_versions_are_kept_though_nobody_needs_them():
    assert removable({1, 2, 3}, set(), {}, keep_versions=3) == set()
