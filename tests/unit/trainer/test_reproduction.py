"""A round can be repeated, and a version leads to every sample that made it, and back."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update
from tidemill_contracts.errors import NotFound
from tidemill_contracts.layout import MODEL_PAGE, round_prefix, version_prefix
from tidemill_contracts.samples import Sample
from tidemill_registry.decision_rows import read_decisions
from tidemill_registry.lineage import line_of, samples_of, versions_of
from tidemill_registry.round_rows import own_ids
from tidemill_registry.tables import samples
from tidemill_trainer.reports.event_file import Scalar, event_file
from tidemill_trainer.reproduction import reproduce

Points = Callable[..., list[Sample]]


@pytest.fixture
def lenient(make_world: Any) -> Any:
    """A world whose gate lets everything through that is not worse."""
    return make_world(gate={"gain_min": 0, "significance": 1}, training={"epochs_max": 2})


def test_every_round_can_be_repeated_with_the_same_decision_and_weights(
    make_world: Any, points: Points
) -> None:
    world = make_world(gate={"gain_min": 0.001, "significance": 1})
    trainer = world.start()
    for number in range(3):
        world.put(points(60, seed=number))
        trainer.idle()

    for round_ in world.registry.rounds("points"):
        found = reproduce(round_.id, registry=world.registry, store=world.store, learner=world.learner)
        assert (found.same_decision, found.same_weights) == (True, True), round_.reason


def test_repeating_writes_nothing(world: Any, points: Points) -> None:
    world.put(points(60))
    world.start().idle()
    stored = {each.name: each.generation for each in world.store.list("")}
    world.fuse.left = 0  # any write would be the end

    reproduce(
        world.registry.rounds("points")[0].id,
        registry=world.registry,
        store=world.store,
        learner=world.learner,
    )

    assert {each.name: each.generation for each in world.store.list("")} == stored


def test_a_recipe_that_learns_otherwise_is_told_from_the_one_that_made_the_round(
    world: Any, points: Points
) -> None:
    world.put(points(60))
    world.start().idle()
    world.recipe.epochs = 1

    found = reproduce(
        world.registry.rounds("points")[0].id,
        registry=world.registry,
        store=world.store,
        learner=world.learner,
    )

    assert not found.same_weights


def test_a_label_corrected_later_does_not_change_the_round_that_is_repeated(
    world: Any, points: Points
) -> None:
    world.put(points(60))
    world.start().idle()
    round_ = world.registry.rounds("points")[0]
    with world.registry.write() as sql:
        sql.execute(update(samples).values(label="left"))

    found = reproduce(round_.id, registry=world.registry, store=world.store, learner=world.learner)

    assert found.same_weights


def test_a_round_that_does_not_exist_cannot_be_repeated(world: Any) -> None:
    with pytest.raises(NotFound, match="no round nonsense"):
        reproduce("nonsense", registry=world.registry, store=world.store, learner=world.learner)


def test_a_version_leads_to_every_sample_of_its_line_and_each_of_them_back(
    lenient: Any, points: Points
) -> None:
    world = lenient
    trainer = world.start()
    for number in range(2):
        world.put(points(60, seed=number))
        trainer.idle()
    first, second = world.registry.rounds("points")

    with world.registry.read() as sql:
        line = line_of(sql, "points", 2)
        made = samples_of(sql, line)
        trained = {each.sample_id for each in made if each.part == "train"}
        assert trained == own_ids(sql, first.id, "train") | own_ids(sql, second.id, "train")
        assert {each.version for each in made} == {1, 2}
        for each in made[:20]:
            assert each.version in {found.version for found in versions_of(sql, "points", each.sample_id)}
        with pytest.raises(NotFound, match="no version 9"):
            line_of(sql, "points", 9)


def test_the_page_beside_the_card_says_data_measures_decision_and_how_to_repeat_it(
    world: Any, points: Points
) -> None:
    world.put(points(60))
    world.start().idle()

    page = world.store.get(version_prefix("points", 1) + MODEL_PAGE).decode()

    round_ = world.registry.rounds("points")[0]
    assert f"{round_.challenger_accuracy:.4f}" in page
    assert f"tidemill reproduce {round_.id}" in page
    assert "<th>left</th>" in page
    assert "<script" not in page


def test_the_numbers_of_a_decision_stand_in_the_registry(world: Any, points: Points) -> None:
    world.put(points(60))
    trainer = world.start()
    trainer.idle()
    world.recipe.blind = True
    world.put(points(60, seed=1))
    trainer.idle()

    with world.registry.read() as sql:
        decisions = read_decisions(sql, "points")
    second = decisions[world.registry.rounds("points")[1].id]
    assert second.numbers["test"] == "exact McNemar"
    assert (second.numbers["gained"], second.numbers["lost"], second.numbers["gain"]) == (0, 0, 0.0)
    assert set(second.numbers["classes"]) == {"left", "right"}
    assert second.promote is False


def test_every_round_leaves_its_curves_in_the_store(world: Any, points: Points) -> None:
    world.put(points(60))
    world.start().idle()
    round_ = world.registry.rounds("points")[0]

    (name,) = (each.name for each in world.store.list(round_prefix("points", round_.id)))

    assert "/events.out.tfevents." in name
    assert b"epoch/loss" in world.store.get(name)


def test_an_event_file_is_framed_as_tensorboard_reads_it() -> None:
    data = event_file([Scalar("a", 3, 0.5)], wall_time_s=1.0)

    lengths, position = [], 0
    while position < len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        lengths.append(length)
        position += 8 + 4 + length + 4
    assert position == len(data)
    assert len(lengths) == 2
    assert struct.pack("<f", 0.5) in data
