"""Faults that are not crashes: a database that goes away in the commit, a second trainer, a poisoned line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.manifest import read_labels
from tidemill_contracts.samples import Sample
from tidemill_registry.records import PoolCounts
from tidemill_trainer import workbench

Points = Callable[..., list[Sample]]
COMMITS_MAX = 60
EVERY = int(os.environ.get("TIDEMILL_TEST_EVERY", "3"))
"""Commits between two that are cut; 1: every one."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that are over at once."""
    monkeypatch.setattr(workbench, "PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr(workbench, "PAUSE_LIMIT_S", 0.001)


def cut_commit(world: Any, which: int, *, after: bool) -> list[int]:
    """The connection is cut at the `which`th write, before it took effect or after; counts the writes."""
    write, seen = world.registry.write, [0]

    @contextmanager
    def cut() -> Iterator[Connection]:
        seen[0] += 1
        mine = seen[0]
        if mine == which and not after:
            with write() as sql:
                yield sql
                raise Unavailable("the connection was cut")  # takes the transaction back
        with write() as sql:
            yield sql
        if mine == which:
            raise Unavailable("the connection was cut")

    world.registry.write = cut
    return seen


def outcome(world: Any) -> tuple[Any, ...]:
    (round_,) = world.registry.rounds("points")
    versions = [each.version for each in world.registry.versions("points")]
    labels = read_labels(world.store, "points")[0]
    pools = world.registry.pool_counts("points", "points")
    return round_.status, round_.reason, versions, labels, pools


@pytest.mark.long
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("after", [False, True])
def test_a_database_that_is_cut_off_in_any_commit_changes_nothing_in_the_end(
    make_world: Any, points: Points, after: bool
) -> None:
    expected: tuple[Any, ...] | None = None
    for which in range(0, COMMITS_MAX, EVERY):
        world = make_world(training={"epochs_max": 1})
        world.put(points(60))
        trainer = world.start()
        seen = cut_commit(world, which, after=after)
        for _ in range(4):
            try:
                trainer.idle()
            except Unavailable:
                continue
        found = outcome(world)
        expected = expected or found
        assert found == expected, f"cut at write {which}"
        if seen[0] < which:
            assert which >= 8
            return
    pytest.fail(f"more than {COMMITS_MAX} writes in one round")


def test_a_trainer_that_slept_through_its_lease_changes_nothing_when_it_wakes(
    world: Any, points: Points
) -> None:
    world.put(points(60))
    first, second = world.start(), world.start()
    train = world.recipe.train
    sleeping = [True]

    def sleep_in_training(*arguments: Any, **options: Any) -> Any:
        weights = train(*arguments, **options)
        if sleeping.pop() if sleeping else False:
            world.pass_time(601)  # longer than the lease
            second.idle()
        return weights

    world.recipe.train = sleep_in_training
    first.idle()

    (round_,) = world.registry.rounds("points")
    assert (round_.status, round_.starts) == ("promoted", 2)
    assert [each.version for each in world.registry.versions("points")] == [1]
    assert len(world.bus.published("models")) == 1
    assert world.registry.pool_counts("points", "points") == PoolCounts(used=60)


@pytest.mark.long
def test_a_line_that_is_poisoned_for_some_rounds_keeps_its_champion(make_world: Any, points: Points) -> None:
    world = make_world(training={"epochs_max": 20}, gate={"significance": 0.2})
    world.put(points(200))
    trainer = world.start()
    trainer.idle()
    random = np.random.default_rng(7)
    for number in range(4):
        poisoned = [
            each.model_copy(update={"label": ("left", "right")[random.integers(2)]})
            for each in points(50, seed=number + 1)
        ]
        world.put(poisoned)
        world.pass_time(10)
        trainer.idle()
    world.put(points(400, seed=99), "test")
    world.pass_time(60)

    trainer.idle()

    runs = world.registry.test_runs("points")
    assert runs[-1].accuracy > 0.85
    assert all(each.status == "ignored" for each in world.registry.rounds("points")[1:])
