"""Rounds from end to end, with a real registry and a recipe in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.events import ModelPublished
from tidemill_contracts.golden import PATH as GOLDEN
from tidemill_contracts.golden import Golden
from tidemill_contracts.layout import manifest_name, model_card_name, version_prefix
from tidemill_contracts.manifest import (
    Labels,
    Manifest,
    ModelCard,
    change_labels,
    parse_document,
    read_labels,
)
from tidemill_contracts.samples import Sample
from tidemill_registry.records import PoolCounts
from tidemill_registry.tables import round_samples, samples
from tidemill_trainer import workbench

Points = Callable[..., list[Sample]]


def statuses(world: Any) -> list[str]:
    return [f"{each.kind} {each.status}" for each in world.registry.rounds("points")]


def test_the_first_round_publishes_a_version_as_candidate(world: Any, points: Points) -> None:
    world.put(points(60))

    world.start().idle()

    assert statuses(world) == ["new promoted"]
    assert [each.version for each in world.registry.versions("points")] == [1]
    assert read_labels(world.store, "points")[0] == Labels(candidate=1)
    (published,) = (from_message(each, ModelPublished) for each in world.bus.published("models"))
    assert (published.version, published.parent_version) == (1, None)


def test_a_version_lies_whole_in_the_store_with_card_weights_and_golden_answers(
    world: Any, points: Points
) -> None:
    world.put(points(60))

    world.start().idle()

    manifest = parse_document(Manifest, world.store.get(manifest_name("points", 1)), "manifest")
    stored = {each.name for each in world.store.list(version_prefix("points", 1))}
    listed = {version_prefix("points", 1) + file.path for file in manifest.files}
    assert stored == listed | {manifest_name("points", 1)}
    card = parse_document(ModelCard, world.store.get(model_card_name("points", 1)), "card")
    round_ = world.registry.rounds("points")[0]
    assert card.round_id == round_.id
    assert card.train_samples == round_.train_count
    assert card.metrics["accuracy"] == round_.challenger_accuracy
    golden = parse_document(Golden, world.store.get(version_prefix("points", 1) + GOLDEN), "golden")
    assert golden.outputs["probabilities"].shape == (8, 2)


def test_a_round_waits_for_enough_samples_or_for_the_oldest(world: Any, points: Points) -> None:
    world.put(points(30))
    trainer = world.start()

    trainer.idle()
    assert statuses(world) == []
    world.pass_time(61)
    trainer.idle()

    assert statuses(world) == ["new promoted"]


def test_a_round_of_one_label_is_not_opened_until_another_arrives(world: Any, points: Points) -> None:
    world.put(points(60, label="left"))
    trainer = world.start()

    trainer.idle()
    assert statuses(world) == []
    world.put(points(60, seed=1, label="right"))
    trainer.idle()

    assert statuses(world) == ["new promoted"]


def test_a_round_that_does_not_help_leaves_the_champion_and_its_samples_ignored(
    world: Any, points: Points
) -> None:
    world.put(points(60))
    trainer = world.start()
    trainer.idle()
    world.recipe.blind = True
    world.put(points(60, seed=1))

    trainer.idle()

    assert statuses(world) == ["new promoted", "new ignored"]
    last = world.registry.rounds("points")[1]
    assert "is not 0.0001 above" in (last.reason or "")
    assert (last.champion_version, last.challenger_version) == (1, None)
    pools = world.registry.pool_counts("points", "points")
    assert pools.ignored == last.train_count
    assert read_labels(world.store, "points")[0].candidate == 1


def test_a_second_round_trains_on_from_the_champion_with_older_samples_beside_the_new(
    make_world: Any, points: Points
) -> None:
    world = make_world(
        gate={"gain_min": 0, "significance": 1}, training={"epochs_max": 2, "rehearsal_ratio": 0.5}
    )
    world.put(points(100))
    trainer = world.start()
    trainer.idle()
    world.put(points(100, seed=1))

    trainer.idle()

    second = world.registry.rounds("points")[1]
    assert second.champion_version == 1
    assert second.rehearsal_count == round(second.train_count * 0.5)
    assert second.validation_count == world.registry.sample_counts("points").validation


def test_ignored_samples_are_retried_after_a_rest_and_exhausted_in_the_end(
    world: Any, points: Points
) -> None:
    world.put(points(60))
    trainer = world.start()
    trainer.idle()
    world.recipe.blind = True
    world.put(points(60, seed=1))
    trainer.idle()

    for _ in range(6):
        trainer.idle()
        world.pass_time(101)

    assert statuses(world) == ["new promoted", "new ignored", "retry ignored", "retry ignored"]
    pools = world.registry.pool_counts("points", "points")
    assert pools.ignored == 0
    assert pools.exhausted == world.registry.rounds("points")[1].train_count


def test_a_retry_that_helps_makes_the_samples_used(make_world: Any, points: Points) -> None:
    world = make_world(gate={"gain_min": 0.0001, "significance": 1}, training={"epochs_max": 1})
    world.put(points(60, seed=4))
    trainer = world.start()
    trainer.idle()
    world.recipe.blind = True
    world.put(points(100, seed=1))
    trainer.idle()
    world.recipe.blind, world.recipe.epochs = False, 60

    world.pass_time(101)
    trainer.idle()

    assert statuses(world)[-1] == "retry promoted"
    assert world.registry.pool_counts("points", "points").ignored == 0


@pytest.mark.long
def test_fifty_rounds_that_do_not_help_neither_starve_new_samples_nor_grow_without_bound(
    make_world: Any, points: Points
) -> None:
    world = make_world(
        round={"samples_min": 20, "samples_max": 60, "age_s_max": 60}, training={"epochs_max": 1}
    )
    world.put(points(20))
    trainer = world.start()
    trainer.idle()
    world.recipe.blind = True

    ignored = []
    for number in range(50):
        world.put(points(20, seed=number + 1))
        world.pass_time(101)
        trainer.idle()
        trainer.idle()
        ignored.append(world.registry.pool_counts("points", "points").ignored)

    rounds = world.registry.rounds("points")
    assert sum(each.kind == "new" for each in rounds) == 51
    assert sum(each.kind == "retry" for each in rounds) <= 50
    assert world.registry.pool_counts("points", "points").new == 0
    assert max(ignored) <= 60


def test_no_test_sample_ever_trains_or_validates(world: Any, points: Points) -> None:
    world.put(points(60, seed=1), "test")
    world.put(points(60))
    trainer = world.start()

    trainer.idle()
    trainer.idle()

    with world.registry.read() as sql:
        same = samples.c.sample_id == round_samples.c.sample_id
        roles = set(sql.scalars(select(samples.c.role).select_from(round_samples.join(samples, same))))
    assert roles == {"train", "validation"}
    (run,) = world.registry.test_runs("points")
    assert (run.version, run.sample_count) == (1, 60)


def test_no_validation_sample_ever_trains(make_world: Any, points: Points) -> None:
    world = make_world(gate={"gain_min": 0, "significance": 1})
    trainer = world.start()
    for number in range(4):
        world.put(points(60, seed=number))
        world.recipe.blind = number % 2 == 1
        trainer.idle()
        world.pass_time(101)
        trainer.idle()

    with world.registry.read() as sql:
        part, role = round_samples.c.part, samples.c.role
        same = samples.c.sample_id == round_samples.c.sample_id
        seen = set(sql.execute(select(part, role).select_from(round_samples.join(samples, same)).distinct()))
    assert {tuple(row) for row in seen} == {
        ("train", "train"),
        ("rehearsal", "train"),
        ("validation", "validation"),
    }


def test_the_champion_is_tested_again_when_test_samples_come_but_not_too_often(
    world: Any, points: Points
) -> None:
    trainer = world.start()
    world.put(points(60))
    world.put(points(10, seed=1), "test")
    trainer.idle()
    trainer.idle()
    world.put(points(10, seed=2), "test")

    trainer.idle()
    assert [run.sample_count for run in world.registry.test_runs("points")] == [10]
    world.pass_time(51)
    trainer.idle()

    assert [run.sample_count for run in world.registry.test_runs("points")] == [10, 20]


def test_a_version_that_serving_refused_is_no_champion(make_world: Any, points: Points) -> None:
    world = make_world(gate={"gain_min": 0, "significance": 1})
    trainer = world.start()
    world.put(points(60))
    trainer.idle()
    change_labels(world.store, "points", lambda labels: labels.promote(1))
    world.put(points(60, seed=1))
    trainer.idle()
    change_labels(world.store, "points", lambda labels: labels.model_copy(update={"candidate": None}))
    world.put(points(60, seed=2))

    trainer.idle()

    assert [each.champion_version for each in world.registry.rounds("points")] == [None, 1, 1]
    assert [each.version for each in world.registry.versions("points")] == [1, 2, 3]


def test_other_labels_begin_a_new_line(world: Any, points: Points) -> None:
    world.put(points(60))
    world.start().idle()
    world.trainers[0].release()
    world.spec = world.spec.model_copy(update={"labels": ("right", "left")})
    world.put(points(60, seed=1))

    world.start().idle()

    second = world.registry.rounds("points")[1]
    assert (second.champion_version, second.status, second.challenger_version) == (None, "promoted", 2)


def test_a_champion_that_is_not_what_its_manifest_says_blocks_rounds_without_using_samples_up(
    world: Any, points: Points
) -> None:
    world.put(points(60))
    world.start().idle()
    world.trainers[0].release()
    world.store.put(version_prefix("points", 1) + "assets.extra/weights.npz", b"changed")
    world.put(points(60, seed=1))

    world.start().idle()

    assert statuses(world) == ["new promoted"]
    assert world.registry.pool_counts("points", "points").new == 60


def test_an_object_that_changed_after_indexing_is_put_aside_and_its_round_fails(
    world: Any, points: Points
) -> None:
    first = world.put(points(30))
    trainer = world.start()
    trainer.idle()
    world.store.put(first, b"changed")
    world.put(points(30, seed=1))

    trainer.idle()
    assert statuses(world) == ["new failed"]
    world.put(points(60, seed=2))
    trainer.idle()

    assert statuses(world) == ["new failed", "new promoted"]
    with world.registry.read() as sql:
        rounds = world.registry.rounds("points")
        used = select(samples.c.object).join(round_samples, samples.c.sample_id == round_samples.c.sample_id)
        assert first not in set(sql.scalars(used.where(round_samples.c.round_id == rounds[1].id)))


def test_a_fault_in_a_recipe_fails_the_round_with_its_reason(world: Any, points: Points) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no gradient")

    world.recipe.train = broken
    world.put(points(60))

    world.start().idle()

    assert statuses(world) == ["new failed"]
    assert world.registry.rounds("points")[0].reason == "ZeroDivisionError: no gradient"


def test_a_challenger_that_diverges_is_ignored(world: Any, points: Points) -> None:
    world.recipe.train = lambda *_, **__: [np.full((3, 2), float("nan"))]
    world.put(points(60))

    world.start().idle()

    assert statuses(world) == ["new ignored"]
    assert "diverged" in (world.registry.rounds("points")[0].reason or "")


def test_a_store_that_is_down_for_a_moment_does_not_cost_a_second_training(
    world: Any, points: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbench, "PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr(workbench, "PAUSE_LIMIT_S", 0.001)
    failures = iter([Unavailable("down")] * 3)
    put = world.store.put

    def put_after_failures(name: str, data: bytes, **options: Any) -> Any:
        if name.startswith("models/"):
            for failure in failures:
                raise failure
        return put(name, data, **options)

    world.put(points(60))
    world.store.put = put_after_failures

    world.start().idle()

    (round_,) = world.registry.rounds("points")
    assert (round_.status, round_.starts) == ("promoted", 1)


def test_the_same_data_and_seed_give_the_same_decision_and_version(make_world: Any, points: Points) -> None:
    worlds = [make_world(), make_world()]
    worlds[0].put(points(60))
    worlds[1].store._objects = dict(worlds[0].store._objects)
    for world in worlds:
        world.start().idle()

    first, second = (world.registry.rounds("points") for world in worlds)
    assert first[0].reason == second[0].reason
    versions = [world.registry.versions("points")[0].digest for world in worlds]
    assert versions[0] == versions[1]


def test_a_registry_that_was_lost_does_not_reuse_versions(make_world: Any, points: Points) -> None:
    old, new = make_world(), make_world()
    old.put(points(60))
    old.start().idle()
    new.store._objects = dict(old.store._objects)
    change_labels(new.store, "points", lambda _: Labels())

    new.start().idle()

    assert [each.version for each in new.registry.versions("points")] == [2]


def test_a_second_trainer_stands_by_while_the_first_lives(world: Any, points: Points) -> None:
    first, second = world.start(), world.start()
    first.idle()
    world.put(points(60))

    second.idle()
    assert statuses(world) == []
    first.idle()

    assert statuses(world) == ["new promoted"]
    assert world.registry.pool_counts("points", "points") == PoolCounts(used=60)
