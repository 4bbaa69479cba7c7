"""People have the last word: force, veto, labels; each with who and why, each once."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tidemill_contracts.layout import model_card_name
from tidemill_contracts.manifest import ModelCard, parse_document, read_labels
from tidemill_contracts.samples import Sample
from tidemill_registry.decision_rows import add_wish, list_wishes, read_decisions
from tidemill_registry.doubt_rows import open_claims

Points = Callable[..., list[Sample]]
EVERY = int(os.environ.get("TIDEMILL_TEST_EVERY", "5"))
"""Effects between two places to die at; 1: every one."""


def wish(world: Any, action: str, subject: str, *, value: str | None = None) -> None:
    with world.registry.write() as sql:
        add_wish(
            sql,
            action,  # type: ignore[arg-type]
            scope="points",
            subject=subject,
            by="ada",
            why="I looked",
            at=world.now,
            value=value,
        )


def results(world: Any) -> list[str | None]:
    with world.registry.read() as sql:
        return [each.result for each in list_wishes(sql, "points")]


def one_ignored(world: Any, points: Points) -> Any:
    """A trainer with a champion and a second round that did not help."""
    world.put(points(60))
    trainer = world.start()
    trainer.idle()
    world.recipe.blind = True
    world.put(points(60, seed=1))
    trainer.idle()
    return trainer


def test_an_ignored_round_is_forced_with_who_and_why_in_card_and_registry(world: Any, points: Points) -> None:
    trainer = one_ignored(world, points)
    wish(world, "force", world.registry.rounds("points")[1].id)

    trainer.idle()

    round_ = world.registry.rounds("points")[1]
    assert (round_.status, round_.challenger_version) == ("promoted", 2)
    card = parse_document(ModelCard, world.store.get(model_card_name("points", 2)), "card")
    assert card.decision.startswith("ada forced it: I looked (the gate said: accuracy")
    assert read_labels(world.store, "points")[0].candidate == 2
    assert world.registry.pool_counts("points", "points").ignored == 0
    assert results(world) == ["published"]


def test_a_wish_is_done_once(world: Any, points: Points) -> None:
    trainer = one_ignored(world, points)
    wish(world, "force", world.registry.rounds("points")[1].id)

    for _ in range(3):
        trainer.idle()

    assert [each.version for each in world.registry.versions("points")] == [1, 2]


def test_a_veto_keeps_the_running_round_from_being_published(world: Any, points: Points) -> None:
    world.put(points(60))
    score = world.recipe.score

    def score_and_veto(*arguments: Any) -> Any:
        if not results(world):
            wish(world, "veto", world.registry.running_round("points").id)
        return score(*arguments)

    world.recipe.score = score_and_veto
    world.start().idle()

    (round_,) = world.registry.rounds("points")
    assert round_.status == "ignored"
    assert (round_.reason or "").startswith("ada vetoed it: I looked (the gate said: without a champion")
    with world.registry.read() as sql:
        assert read_decisions(sql, "points")[round_.id].wish_id == 1


def test_a_veto_that_comes_too_late_is_answered_with_the_remedy(world: Any, points: Points) -> None:
    world.put(points(60))
    trainer = world.start()
    trainer.idle()
    wish(world, "veto", world.registry.rounds("points")[0].id)

    trainer.idle()

    assert results(world) == ["too late: the round is promoted; `tidemill rollback` takes it back"]


def test_nobody_forces_a_challenger_that_is_no_model(world: Any, points: Points) -> None:
    world.recipe.train = lambda *_, **__: [np.full((3, 2), float("nan"))]
    world.put(points(60))
    trainer = world.start()
    trainer.idle()
    wish(world, "force", world.registry.rounds("points")[0].id)

    trainer.idle()

    assert world.registry.versions("points") == []
    assert results(world) == ["not done: its challenger is no working model"]


@pytest.mark.long
def test_a_forced_round_survives_a_crash_at_any_effect(make_world: Any, points: Points) -> None:
    for effects in range(0, 60, EVERY):
        world = make_world()
        one_ignored(world, points).release()
        wish(world, "force", world.registry.rounds("points")[1].id)
        world.fuse.left = effects
        died = False
        try:
            world.start().idle()
        except BaseException as death:
            if type(death).__name__ != "PowerCut":
                raise
            died = True
        world.fuse.left = None
        world.pass_time(601)
        trainer = world.start()
        trainer.idle()
        trainer.idle()
        assert [each.version for each in world.registry.versions("points")] == [1, 2], effects
        assert world.registry.rounds("points")[1].status == "promoted"
        if not died:
            return


def test_a_sample_with_two_labels_trains_nothing_until_a_person_has_decided(
    make_world: Any, points: Points
) -> None:
    world = make_world(round={"samples_min": 40, "samples_max": 200, "age_s_max": 600})
    some = [sample.model_copy(update={"id": f"s{place}"}) for place, sample in enumerate(points(60))]
    trainer = world.start()
    world.put(some[:30])
    trainer.idle()
    world.put([some[0].model_copy(update={"label": "right"})], source="corrected")
    trainer.idle()
    with world.registry.read() as sql:
        (claim,) = open_claims(sql, "points")
    assert (claim.sample_id, claim.kept_label, claim.label) == ("s0", "left", "right")
    assert world.registry.pool_counts("points", "points").new == 29

    wish(world, "relabel", "s0", value="right")
    trainer.idle()

    assert world.registry.pool_counts("points", "points").new == 30
    assert results(world) == ["1 samples of this content are right now"]
    with world.registry.read() as sql:
        assert open_claims(sql, "points") == []


def test_the_same_content_under_another_id_and_label_puts_both_in_doubt(world: Any, points: Points) -> None:
    first = points(1)[0].model_copy(update={"id": "a"})
    trainer = world.start()
    world.put([first])
    trainer.idle()
    world.pass_time(1)
    world.put([first.model_copy(update={"id": "b", "label": "right"})])

    trainer.idle()

    with world.registry.read() as sql:
        found = [(each.sample_id, each.label) for each in open_claims(sql, "points")]
    assert found == [("a", "right"), ("b", "left")]


def test_a_label_that_no_model_knows_is_not_taken_over(world: Any, points: Points) -> None:
    world.put([points(1)[0].model_copy(update={"id": "a"})])
    trainer = world.start()
    trainer.idle()
    wish(world, "relabel", "a", value="up")

    trainer.idle()

    assert results(world) == ["not done: no model of points knows the label 'up'"]
