"""Whatever the order and grouping of samples and crashes: the promises of the trainer hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from tidemill_contracts.layout import version_prefix
from tidemill_contracts.manifest import read_labels
from tidemill_contracts.samples import Sample
from tidemill_registry.batches import get_objects
from tidemill_registry.round_rows import read_snapshot
from tidemill_registry.tables import round_samples, samples
from tidemill_trainer.examples import load_examples
from tidemill_trainer.selection import judges
from tidemill_trainer.weights import PATH, load_weights

Points = Callable[..., list[Sample]]
EXAMPLES = 12
LEASE_OVER_S = 601

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("train"), st.integers(0, 5), st.integers(5, 60)),
        st.tuples(st.just("test"), st.integers(0, 5), st.integers(1, 20)),
        st.tuples(st.just("again"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("crash"), st.integers(0, 40), st.just(0)),
        st.tuples(st.just("blind"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 300), st.just(0)),
    ),
    min_size=2,
    max_size=8,
)


class Story:
    """A world to which things happen, and what must be true of it at any time."""

    def __init__(self, world: Any, points: Points) -> None:
        self.world = world
        self.points = points
        self.trainer = world.start()
        self.put: list[tuple[list[Sample], str]] = []

    def happen(self, what: str, first: int, second: int) -> None:
        world = self.world
        if what in ("train", "test"):
            # The same seeds on both sides: contents meet across the line, as they do in life.
            some = self.points(second, seed=first)
            self.put.append((some, what))
            world.put(some, what)
        elif what == "again" and self.put:
            world.put(*self.put[first % len(self.put)], source="again")
        elif what == "blind":
            world.recipe.blind = bool(first)
        elif what == "wait":
            world.pass_time(first)
        self.run(first if what == "crash" else None)

    def run(self, effects: int | None) -> None:
        self.world.fuse.left = effects
        try:
            self.trainer.idle()
        except BaseException as death:
            if type(death).__name__ != "PowerCut":
                raise
            self.world.fuse.left = None
            self.world.pass_time(LEASE_OVER_S)
            self.trainer = self.world.start()
        self.world.fuse.left = None

    def check(self) -> None:
        self.check_parts()
        self.check_champions()

    def check_parts(self) -> None:
        """No test sample trains, no validation sample trains, no content stands on both sides."""
        same = samples.c.sample_id == round_samples.c.sample_id
        columns = (round_samples.c.part, samples.c.role, samples.c.digest)
        with self.world.registry.read() as sql:
            rows = list(sql.execute(select(*columns).select_from(round_samples.join(samples, same))))
            tests = set(sql.scalars(select(samples.c.digest).where(samples.c.role == "test")))
        by_part = {part: {row.digest for row in rows if row.part == part} for part in ("train", "validation")}
        assert {(row.part, row.role) for row in rows} <= {
            ("train", "train"),
            ("rehearsal", "train"),
            ("validation", "validation"),
        }
        assert not by_part["train"] & by_part["validation"]
        assert not tests & (by_part["train"] | by_part["validation"])

    def check_champions(self) -> None:
        """One champion at any time, never worse than its parent on its own validation set."""
        world = self.world
        labels, _ = read_labels(world.store, "points")
        versions = world.registry.versions("points")
        assert [each.version for each in versions] == sorted({each.version for each in versions})
        assert len([each for each in world.registry.rounds("points") if each.closed_at is None]) <= 1
        if versions:
            assert labels.candidate == versions[-1].version
        for round_ in world.registry.rounds("points"):
            if round_.status == "promoted" and round_.champion_version:
                assert self.measured(round_, round_.challenger_version) >= self.measured(
                    round_, round_.champion_version
                )

    def measured(self, round_: Any, version: int) -> float:
        """How good the stored version is on the samples that judged the round, by the gate's own metric."""
        world = self.world
        weights = load_weights(world.store.get(version_prefix("points", version) + PATH), "weights")
        with world.registry.read() as sql:
            everything = read_snapshot(sql, round_)["validation"]
            rows = judges(everything, world.spec.gate.validation_max)
            objects = get_objects(sql, {row.object for row in rows})
        examples = load_examples(
            world.learner, world.store, rows, objects, step=lambda: None, scratch=world.work
        )
        score = world.recipe.score(weights, examples)
        return score.accuracy if world.spec.gate.metric == "accuracy" else -score.bounded_loss


@pytest.mark.long
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS, metric=st.sampled_from(["accuracy", "loss"]))
def test_whatever_happens_the_promises_hold(
    make_world: Any, points: Points, steps: list[tuple[str, int, int]], metric: str
) -> None:
    world = make_world(
        round={"samples_min": 30, "samples_max": 80, "age_s_max": 50},
        gate={"metric": metric, "significance": 1, "validation_max": 25},
    )
    story = Story(world, points)

    for step in steps:
        story.happen(*step)
        story.check()
    for _ in range(3):
        story.happen("wait", 200, 0)

    story.check()


def test_a_pool_that_never_improves_costs_a_bounded_number_of_trainings(
    make_world: Any, points: Points
) -> None:
    world = make_world(
        round={"samples_min": 20, "samples_max": 60, "age_s_max": 60},
        training={"epochs_max": 1},
        retry={"every_s": 100, "samples_min": 5, "attempts_max": 3, "widening": 2, "every_s_max": 1000},
    )
    world.put(points(40))
    trainer = world.start()
    trainer.idle()
    world.recipe.blind = True
    world.put(points(60, seed=1))
    for _ in range(60):
        trainer.idle()
        world.pass_time(500)

    rounds = world.registry.rounds("points")
    ignored = rounds[1].train_count
    retried = sum(each.train_count for each in rounds if each.kind == "retry")
    pools = world.registry.pool_counts("points", "points")
    assert retried <= 3 * ignored
    assert pools.ignored < 5
    assert {each.grouping for each in rounds if each.kind == "retry"} == {
        "stratified",
        "k_fold",
        "loss_ranked",
    }


def test_a_batch_with_shuffled_labels_is_refused_before_it_spoils_the_champion(
    make_world: Any, points: Points
) -> None:
    world = make_world(gate={"gain_min": 0, "significance": 1}, training={"epochs_max": 30})
    world.put(points(200))
    trainer = world.start()
    trainer.idle()
    random = np.random.default_rng(0)
    poisoned = [
        each.model_copy(update={"label": ("left", "right")[random.integers(2)]})
        for each in points(150, seed=1)
    ]
    world.put(poisoned)

    trainer.idle()

    second = world.registry.rounds("points")[1]
    assert second.status == "ignored"
    assert "look shuffled" in (second.reason or "")


def test_a_retry_of_samples_that_are_hard_is_not_taken_for_shuffled(make_world: Any, points: Points) -> None:
    """Bug: what a champion gets wrong by its nature was gathered by a retry, and refused for being wrong."""
    world = make_world(
        round={"samples_min": 40, "samples_max": 300, "age_s_max": 60},
        retry={
            "every_s": 100,
            "samples_min": 20,
            "attempts_max": 1,
            "widening": 1,
            "groupings": ["loss_ranked"],
        },
    )
    world.put(points(200))
    trainer = world.start()
    trainer.idle()
    hard = [
        each.model_copy(update={"label": {"left": "right", "right": "left"}[each.label]})
        for each in points(70, seed=2)
    ]
    world.put([*points(200, seed=1), *hard])
    world.recipe.blind = True
    trainer.idle()
    trainer.release()
    # Most of the easy ones have their only try, and are exhausted; the hard ones are left to themselves.
    smaller = world.spec.round.model_copy(update={"samples_max": 120})
    world.spec = world.spec.model_copy(update={"round": smaller})
    trainer = world.start()
    for _ in range(2):
        world.pass_time(101)
        trainer.idle()

    retries = [each for each in world.registry.rounds("points") if each.kind == "retry"]
    assert [each.status for each in retries] == ["ignored", "ignored"]
    assert all("is not 0.0001 above" in (each.reason or "") for each in retries)


def test_shuffled_labels_are_not_believed_in_a_retry_either(make_world: Any, points: Points) -> None:
    world = make_world(gate={"gain_min": 0, "significance": 1}, retry={"every_s": 100, "samples_min": 20})
    world.put(points(200))
    trainer = world.start()
    trainer.idle()
    random = np.random.default_rng(0)
    world.put(
        [
            each.model_copy(update={"label": ("left", "right")[random.integers(2)]})
            for each in points(150, seed=1)
        ]
    )
    trainer.idle()

    world.pass_time(101)
    trainer.idle()

    last = world.registry.rounds("points")[-1]
    assert (last.kind, last.status) == ("retry", "ignored")
    assert "look shuffled" in (last.reason or "")


def test_every_nth_round_a_cold_start_is_trained_as_control(make_world: Any, points: Points) -> None:
    world = make_world(gate={"gain_min": 0, "significance": 1, "control_every": 2})
    starts: list[bool] = []
    train = world.recipe.train

    def noted(start: Any, *arguments: Any, **options: Any) -> Any:
        starts.append(start is None)
        return train(start, *arguments, **options)

    world.recipe.train = noted
    trainer = world.start()
    for number in range(3):
        world.put(points(60, seed=number))
        trainer.idle()

    assert starts == [True, False, True, False]
