"""The inbox: the same event once, whoever tells of it; a storm is one round; no event, no loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidemill_contracts.bus import Delivery
from tidemill_contracts.samples import Sample
from tidemill_registry.trigger_rows import triggers_of_round, waiting_triggers

Points = Callable[..., list[Sample]]
STORM = 300


def deliver(world: Any, trainer: Any, *, times: int = 1) -> None:
    """Every batch event so far, `times` over."""
    for message in world.bus.published("batches"):
        for _ in range(times):
            trainer.handle(
                Delivery(message=message, ack_id="1", message_id="1", publish_time=world.now, attempt=1)
            )


def test_the_same_event_twice_and_the_reconcile_loop_are_one_trigger(world: Any, points: Points) -> None:
    world.put(points(30))
    trainer = world.start()

    deliver(world, trainer, times=2)
    trainer.idle()

    with world.registry.read() as sql:
        assert waiting_triggers(sql, "points") == 1


def test_a_storm_of_events_opens_one_round_that_answers_all_of_them(world: Any, points: Points) -> None:
    trainer = world.start()
    world.put(points(60))
    for number in range(4):
        world.put(points(5, seed=number + 1))

    deliver(world, trainer, times=STORM // 5)
    for _ in range(5):
        trainer.idle()

    (round_,) = world.registry.rounds("points")
    with world.registry.read() as sql:
        assert {each.kind for each in triggers_of_round(sql, round_.id)} == {"event"}
        assert len(triggers_of_round(sql, round_.id)) == 5
        assert waiting_triggers(sql, "points") == 0


def test_data_whose_every_event_was_lost_is_found(world: Any, points: Points) -> None:
    world.put(points(60), announce=False)

    world.start().idle()

    (round_,) = world.registry.rounds("points")
    with world.registry.read() as sql:
        assert [each.kind for each in triggers_of_round(sql, round_.id)] == ["reconcile"]


def test_retries_that_nobody_was_there_for_become_one(world: Any, points: Points) -> None:
    world.put(points(60))
    trainer = world.start()
    trainer.idle()
    world.recipe.blind = True
    world.put(points(60, seed=1))
    trainer.idle()
    world.pass_time(1000)

    trainer.idle()
    trainer.idle()

    rounds = world.registry.rounds("points")
    assert [each.kind for each in rounds] == ["new", "new", "retry"]
    with world.registry.read() as sql:
        (trigger,) = triggers_of_round(sql, rounds[2].id)
    assert (trigger.kind, trigger.missed_count) == ("schedule", 9)


def test_test_samples_wake_no_round(world: Any, points: Points) -> None:
    world.put(points(60), "test")
    trainer = world.start()

    deliver(world, trainer)
    trainer.idle()

    with world.registry.read() as sql:
        assert waiting_triggers(sql, "points") == 0
