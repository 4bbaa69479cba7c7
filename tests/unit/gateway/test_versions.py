"""Which version answers."""

from __future__ import annotations

import pytest
from tidemill_contracts.errors import Malformed, NotFound, Unavailable
from tidemill_contracts.manifest import Labels
from tidemill_gateway.plane.versions import ModelView, Target, VersionState, choose_stable, resolve
from tidemill_gateway.wire.model_pb2 import ModelVersionStatus

STATES = {
    1: VersionState(ModelVersionStatus.END),
    2: VersionState(ModelVersionStatus.AVAILABLE),
    3: VersionState(ModelVersionStatus.AVAILABLE),
    4: VersionState(ModelVersionStatus.LOADING),
}


def view(stable: int | None = 3, **labels: int) -> ModelView:
    return ModelView("digits", STATES, Labels(**labels), in_store=True, stable=stable)


@pytest.mark.parametrize(
    ("labels", "available", "last", "chosen"),
    [
        (Labels(stable=2), {2, 3}, 3, 2),
        (Labels(stable=4), {2, 3}, 2, 2),
        (Labels(stable=4), {2, 3}, None, 3),
        (Labels(stable=4), {2, 3}, 1, 3),
        (Labels(stable=4, candidate=3), {2, 3}, None, 2),
        (Labels(candidate=3), {3}, None, 3),
        (Labels(stable=4), set(), 3, None),
        (Labels(), {2, 3}, None, 3),
    ],
    ids=[
        "the labelled one",
        "the last good one while the labelled one is not loaded",
        "the highest where nothing was good before",
        "the highest where the last good one is gone",
        "not the candidate while there is another",
        "the candidate where there is nothing else",
        "none where nothing is loaded",
        "the highest where nothing is labelled",
    ],
)
def test_stable_is(labels: Labels, available: set[int], last: int | None, chosen: int | None) -> None:
    assert choose_stable(labels, frozenset(available), last) == chosen


def test_a_target_without_version_is_answered_by_stable() -> None:
    resolved = resolve(view(stable=3), Target("digits"))

    assert (resolved.version, resolved.label) == (3, "stable")


def test_a_version_that_bears_a_label_is_answered_with_it() -> None:
    resolved = resolve(view(previous=2), Target("digits", version=2))

    assert (resolved.version, resolved.label) == (2, "previous")


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (Target("digits", version=9), NotFound),
        (Target("digits", version=1), NotFound),
        (Target("digits", version=4), Unavailable),
        (Target("digits", label="candidate"), Unavailable),
        (Target("digits", label="previous"), Malformed),
        (Target("digits", label="golden"), Malformed),
    ],
    ids=["unknown", "ended", "loading", "label on a loading version", "label not set", "label unknown"],
)
def test_what_cannot_answer_says_why(target: Target, error: type[Exception]) -> None:
    with pytest.raises(error):
        resolve(view(candidate=4), target)


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(NotFound, match=r"Latest\(letters\)"):
        resolve(None, Target("letters"))


def test_a_model_that_only_the_store_has_is_loading_not_unknown() -> None:
    with pytest.raises(Unavailable):
        resolve(ModelView("digits", in_store=True), Target("digits"))
