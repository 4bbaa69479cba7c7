"""Versions load, switch and unload so that something always answers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tidemill_serving.engine.keeper import Keeper
from tidemill_serving.engine.states import State
from tidemill_serving.engine.status import Code, StatusError


class Model:
    """A servable that knows whether it was closed."""

    def __init__(self, version):
        self.version = version
        self.signatures = {}
        self.closed = threading.Event()

    def run(self, signature_name, inputs, outputs, *, deadline_s=None):
        raise AssertionError("nobody asks these models")

    def close(self):
        self.closed.set()


class Shelf:
    """Loads models; a version can be made to wait for a gate or to fail a number of times."""

    def __init__(self, **options):
        self.gates = {}
        self.failures = {}
        self.models = {}
        self.attempts = []
        self.keeper = Keeper(self.load, **{"retries_max": 2, "retry_interval_s": 0.01, **options})

    def load(self, name, version, path):
        self.attempts.append(version)
        if version in self.gates:
            assert self.gates[version].wait(10)
        if self.failures.get(version, 0) > 0:
            self.failures[version] -= 1
            raise RuntimeError("out of luck")
        self.models[version] = Model(version)
        return self.models[version]

    def want(self, *versions):
        self.keeper.set_aspired("m", {version: Path(str(version)) for version in versions})

    def reaches(self, version, state):
        def is_there():
            known = self.keeper.states("m").get(version)
            return known is not None and known.state is state

        return self.keeper.wait_until(is_there, 10)


@pytest.fixture
def shelf():
    return Shelf()


def test_a_wanted_version_becomes_available(shelf):
    shelf.want(1)

    assert shelf.reaches(1, State.AVAILABLE)
    with shelf.keeper.acquire("m") as handle:
        assert handle.version == 1


def test_without_a_version_the_highest_that_is_ready_answers(shelf):
    shelf.want(1, 2)
    shelf.reaches(1, State.AVAILABLE)
    shelf.reaches(2, State.AVAILABLE)

    with shelf.keeper.acquire("m") as latest, shelf.keeper.acquire("m", 1) as first:
        assert (latest.version, first.version) == (2, 1)


@pytest.mark.parametrize(("version", "said"), [(None, "Latest(m)"), (3, "Specific(m, 3)")])
def test_what_is_not_ready_is_not_found(shelf, version, said):
    with pytest.raises(StatusError) as caught:
        shelf.keeper.acquire("m", version)

    assert caught.value.code is Code.NOT_FOUND
    assert caught.value.message == f"Servable not found for request: {said}"


def test_the_old_version_answers_until_the_new_one_is_ready(shelf):
    shelf.want(1)
    shelf.reaches(1, State.AVAILABLE)
    shelf.gates[2] = threading.Event()

    shelf.want(2)
    shelf.reaches(2, State.LOADING)
    with shelf.keeper.acquire("m") as handle:
        assert handle.version == 1
    shelf.gates[2].set()

    assert shelf.reaches(1, State.END)
    assert shelf.models[1].closed.is_set()


def test_a_handle_keeps_its_version_alive(shelf):
    shelf.want(1)
    shelf.reaches(1, State.AVAILABLE)
    handle = shelf.keeper.acquire("m")

    with handle:
        shelf.want(2)
        shelf.reaches(2, State.AVAILABLE)
        assert shelf.reaches(1, State.UNLOADING)
        assert not shelf.models[1].closed.is_set()

    assert shelf.reaches(1, State.END)
    assert shelf.models[1].closed.is_set()


def test_no_version_wanted_unloads_the_last(shelf):
    shelf.want(1)
    shelf.reaches(1, State.AVAILABLE)

    shelf.want()

    assert shelf.reaches(1, State.END)


def test_a_load_that_fails_now_and_then_is_tried_again(shelf):
    shelf.failures[1] = 2

    shelf.want(1)

    assert shelf.reaches(1, State.AVAILABLE)
    assert shelf.attempts == [1, 1, 1]


def test_a_load_that_keeps_failing_ends_with_its_error(shelf):
    shelf.failures[1] = 99

    shelf.want(1)

    assert shelf.reaches(1, State.END)
    assert shelf.attempts == [1, 1, 1]
    assert "out of luck" in shelf.keeper.states("m")[1].error.message


def test_a_failed_version_is_tried_anew_only_after_it_was_not_wanted(shelf):
    shelf.failures[1] = 3
    shelf.want(1)
    shelf.reaches(1, State.END)

    shelf.want(1)
    assert shelf.attempts == [1, 1, 1]
    shelf.want()
    shelf.want(1)

    assert shelf.reaches(1, State.AVAILABLE)


def test_a_version_that_loads_long_does_not_hold_up_another_model(shelf):
    shelf.gates[1] = threading.Event()
    shelf.want(1)

    shelf.keeper.set_aspired("other", {5: Path("5")})

    assert shelf.keeper.wait_until(lambda: 5 in shelf.models, 10)
    shelf.gates[1].set()
    assert shelf.reaches(1, State.AVAILABLE)


def test_a_version_wanted_again_while_it_leaves_comes_back(shelf):
    shelf.want(1)
    shelf.reaches(1, State.AVAILABLE)

    with shelf.keeper.acquire("m"):
        shelf.want()
        shelf.reaches(1, State.UNLOADING)
        shelf.want(1)

    assert shelf.reaches(1, State.AVAILABLE)
    assert shelf.attempts == [1, 1]


def test_a_version_no_longer_wanted_is_not_tried_again():
    shelf = Shelf(retries_max=5, retry_interval_s=60.0)
    shelf.failures[1] = 99
    shelf.want(1)
    shelf.keeper.wait_until(lambda: shelf.attempts == [1], 10)

    shelf.want()

    assert shelf.reaches(1, State.END)
    assert shelf.attempts == [1]


def test_close_ends_every_wait():
    shelf = Shelf(retries_max=5, retry_interval_s=60.0)
    shelf.failures[1] = 99
    shelf.want(1)

    shelf.keeper.close()

    assert not shelf.reaches(1, State.AVAILABLE)
