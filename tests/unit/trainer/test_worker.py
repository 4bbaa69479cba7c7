"""The way in: batches by event, by reconciling, by both, and what is no batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tidemill_chassis.worker import run
from tidemill_contracts.bus import Message
from tidemill_contracts.envelope import to_message
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.events import BatchStored
from tidemill_contracts.samples import Sample

Points = Callable[..., list[Sample]]


def consume(world: Any, *, reconcile_s: float) -> None:
    """Run the worker until the topic is done."""
    subscription = world.bus.subscribe("batches", "trainer")
    trainer = world.start(reconcile_s=reconcile_s)

    def idle() -> None:
        trainer.idle()
        if subscription.backlog().waiting == 0:
            world.stop.set()

    run(subscription, trainer.handle, stop=world.stop, wait_s=0, idle=idle)


def test_a_batch_is_found_by_its_event_at_once(world: Any, points: Points) -> None:
    trainer = world.start(reconcile_s=9999)
    trainer.idle()
    world.put(points(60))
    (delivery,) = world.bus.subscribe("batches", "trainer").pull(9, 0)

    trainer.handle(delivery)
    trainer.idle()

    assert [each.status for each in world.registry.rounds("points")] == ["promoted"]


def test_batches_are_found_although_every_event_was_lost(world: Any, points: Points) -> None:
    trainer = world.start()
    world.put(points(60), announce=False)

    trainer.idle()

    assert [each.status for each in world.registry.rounds("points")] == ["promoted"]


def test_an_event_delivered_many_times_counts_once(world: Any, points: Points) -> None:
    world.put(points(60))
    (message,) = world.bus.published("batches")
    world.bus.publish("batches", [message] * 50)

    consume(world, reconcile_s=0)

    found = world.registry.sample_counts("points")
    assert found.train + found.validation == 60
    assert len(world.registry.rounds("points")) == 1


def test_what_is_no_batch_goes_to_the_dead_letters_with_a_reason(world: Any) -> None:
    world.put([Sample(label="left", row={"x": 0, "y": 0})])
    (good,) = world.bus.published("batches")
    event = BatchStored.model_validate_json(good.data)
    elsewhere = event.model_copy(update={"object": "models/points/1/saved_model.pb"})
    other_split = event.model_copy(update={"split": "test"})
    bad = [to_message(each, source="test") for each in (elsewhere, other_split)]
    world.bus.publish("batches", [Message(b"nonsense"), *bad])

    consume(world, reconcile_s=9999)

    reasons = [each.attributes["dead-reason"] for each in world.bus.published("batches.dead")]
    assert len(reasons) == 3
    assert sum("is not the name of a batch" in reason for reason in reasons) == 2


def test_an_event_is_kept_while_the_database_is_down(
    world: Any, points: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(points(60))
    subscription = world.bus.subscribe("batches", "trainer")
    trainer = world.start(reconcile_s=9999)

    def down() -> Any:
        world.stop.set()
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(world.registry, "write", down)
    run(subscription, trainer.handle, stop=world.stop, wait_s=0)

    assert subscription.backlog().leased == 1
