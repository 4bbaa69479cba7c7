"""Stop the trainer at any effect it has, start it again: the same round, once."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.layout import manifest_name
from tidemill_contracts.manifest import Labels, read_labels
from tidemill_contracts.samples import Sample
from tidemill_registry.tables import round_samples

Points = Callable[..., list[Sample]]
EFFECTS_MAX = 100
EVERY = int(os.environ.get("TIDEMILL_TEST_EVERY", "3"))
"""Effects between two places to die at; with 1 every place is tested, in about a minute."""
BEFORE_THE_MANIFEST = 30
"""So many effects a round always has before its manifest is written."""


def outcome(world: Any) -> dict[str, Any]:
    """What must not depend on whether the trainer was stopped."""
    (round_,) = world.registry.rounds("points")
    with world.registry.read() as sql:
        columns = (round_samples.c.sample_id, round_samples.c.part)
        snapshot = sorted(map(tuple, sql.execute(select(*columns))))
    return {
        "status": round_.status,
        "reason": round_.reason,
        "snapshot": snapshot,
        "pools": world.registry.pool_counts("points", "points"),
        "samples": world.registry.sample_counts("points"),
        "versions": [each.version for each in world.registry.versions("points")],
        # The card and the manifest tell when the round was opened and decided, which a stop delays.
        "weights": world.store.get("models/points/1/assets.extra/weights.npz"),
        "labels": read_labels(world.store, "points")[0],
        "files": sorted(each.name for each in world.store.list("models/points/")),
        "runs": [(run.version, run.accuracy) for run in world.registry.test_runs("points")],
    }


def go_on(world: Any) -> None:
    """Start as a new process does, once the lease of the dead one has run out."""
    world.fuse.left = None
    world.pass_time(601)
    trainer = world.start()
    trainer.idle()
    trainer.idle()


def dies(world: Any, effects: int) -> bool:
    """Run until so many effects have happened; say whether the process died of it."""
    world.fuse.left = effects
    trainer = world.start()
    try:
        trainer.idle()
        trainer.idle()
    except BaseException as death:
        if type(death).__name__ != "PowerCut":
            raise
        return True
    return False


@pytest.mark.long
def test_a_trainer_killed_at_any_effect_ends_with_the_same_round(make_world: Any, points: Points) -> None:
    expected: dict[str, Any] | None = None
    for effects in range(0, EFFECTS_MAX, EVERY):
        world = make_world(round={"samples_min": 40, "samples_max": 200, "age_s_max": 6000})
        world.put(points(60))
        world.put(points(10, seed=3), "test")
        died = dies(world, effects)
        go_on(world)
        found = outcome(world)
        expected = expected or found
        assert found == expected, f"killed after {effects} effects"
        if not died:
            assert effects > 20
            return
    pytest.fail(f"more than {EFFECTS_MAX} effects in one round")


@pytest.mark.long
def test_a_version_that_is_whole_is_completed_and_not_trained_again(make_world: Any, points: Points) -> None:
    world = killed_after_the_manifest(make_world, points)
    trained: list[int] = []
    world.recipe.train = lambda *_, **__: trained.append(1)

    go_on(world)

    assert trained == []
    assert world.registry.rounds("points")[0].status == "promoted"
    assert read_labels(world.store, "points")[0] == Labels(candidate=1)


def killed_after_the_manifest(make_world: Any, points: Points) -> Any:
    """A world whose trainer died with a whole version in the store, of which nobody was told."""
    for effects in range(BEFORE_THE_MANIFEST, EFFECTS_MAX):
        world = make_world()
        world.put(points(60))
        dies(world, effects)
        if list(world.store.list(manifest_name("points", 1))):
            assert world.registry.running_round("points").status == "publishing"
            return world
    pytest.fail("the manifest was never written")


def test_a_stop_during_training_leaves_the_round_open_and_its_snapshot_as_it_was(
    world: Any, points: Points
) -> None:
    world.put(points(60))
    score, trainer = world.recipe.score, world.start()

    def score_and_stop(*arguments: Any) -> Any:
        world.stop.set()
        return score(*arguments)

    world.recipe.score = score_and_stop
    trainer.idle()
    (opened,) = world.registry.rounds("points")
    assert (opened.status, opened.phase, opened.epoch) == ("open", "training", 1)

    trainer.release()
    world.recipe.score, world.stop = score, Stop()
    world.put(points(60, seed=1))
    world.start().idle()

    (closed,) = world.registry.rounds("points")
    assert (closed.status, closed.starts, closed.train_count) == ("promoted", 2, opened.train_count)


def test_a_round_that_always_takes_the_process_down_is_given_up(world: Any, points: Points) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    world.recipe.train = kill
    world.put(points(60))

    for _ in range(20):
        with pytest.raises(Killed):
            world.start().idle()
        world.pass_time(601)
    world.start().idle()

    (round_,) = world.registry.rounds("points")
    assert (round_.status, round_.reason) == ("failed", "begun 20 times without an end")
