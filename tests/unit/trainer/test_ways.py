"""Batches pulled until all is done, and batches pushed."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.push_access import Refused
from tidemill_chassis.settings import Address
from tidemill_contracts.bus import Backlog, Delivery, Message
from tidemill_contracts.samples import Sample
from tidemill_trainer.ways import run_once, run_pushed

from tests.emulators.machine import free_port

Points = Callable[..., list[Sample]]
WAIT_S = 60.0


def statuses(world: Any) -> list[str]:
    return [each.status for each in world.registry.rounds("points")]


def test_once_does_what_is_due_and_ends(world: Any, points: Points) -> None:
    subscription = world.bus.subscribe("batches", "trainer")
    world.put(points(60))

    run_once(world.start(), subscription, world.stop, wait_s=0)

    assert statuses(world) == ["promoted"]
    assert subscription.backlog() == Backlog(waiting=0, leased=0)


def test_once_with_nothing_to_do_ends(world: Any) -> None:
    run_once(world.start(), world.bus.subscribe("batches", "trainer"), world.stop, wait_s=0)

    assert statuses(world) == []


def test_once_leaves_a_model_that_another_trainer_holds_and_ends(world: Any, points: Points) -> None:
    standing = world.start()
    standing.idle()
    world.put(points(60))

    run_once(world.start(), world.bus.subscribe("batches", "trainer"), Stop(), wait_s=0)

    assert statuses(world) == []


class Door:
    """The push side of a trainer that runs in a thread."""

    def __init__(self, world: Any) -> None:
        self.bind = Address("127.0.0.1", free_port())
        self.stop: Stop = world.stop
        trainer = world.start(reconcile_s=9999)
        self.handled: list[Delivery] = []
        handle = trainer.handle

        def handle_and_note(delivery: Delivery) -> None:
            self.handled.append(delivery)
            handle(delivery)

        trainer.handle = handle_and_note
        given = {"bind": self.bind, "ready": lambda: None, "verify": self.verify}
        self.thread = threading.Thread(target=run_pushed, args=(trainer, world.bus, self.stop), kwargs=given)

    def verify(self, token: str) -> None:
        if token != "right":
            raise Refused("no")

    def push(self, message: Message, badge: str = "right") -> int:
        wired = {
            "data": base64.b64encode(message.data).decode(),
            "attributes": dict(message.attributes),
            "messageId": "1",
            "publishTime": "2026-01-02T12:00:00Z",
        }
        body = json.dumps({"message": wired, "subscription": "projects/p/subscriptions/s"})
        headers = {"Authorization": f"Bearer {badge}"}
        with httpx.Client(transport=httpx.HTTPTransport(retries=5), timeout=WAIT_S) as client:
            return client.post(f"http://{self.bind}/push", content=body, headers=headers).status_code


@pytest.fixture
def door(world: Any) -> Any:
    made = Door(world)
    made.thread.start()
    yield made
    made.stop.set()
    made.thread.join(WAIT_S)
    assert not made.thread.is_alive()


def test_a_pushed_batch_is_noted_when_it_is_answered_and_trained_on_soon(
    world: Any, points: Points, door: Door
) -> None:
    world.put(points(60))
    (event,) = world.bus.published("batches")

    assert door.push(event) == 204
    assert len(door.handled) == 1

    end_s = time.monotonic() + WAIT_S
    while statuses(world) != ["promoted"]:
        assert time.monotonic() < end_s, "the batch was not trained on"
        time.sleep(0.02)


def test_what_is_no_batch_is_put_aside_and_not_sent_again(world: Any, door: Door) -> None:
    assert door.push(Message(b"nonsense")) == 204

    assert len(world.bus.published("batches.dead")) == 1


def test_without_the_right_token_no_batch_is_noted(world: Any, points: Points, door: Door) -> None:
    world.put(points(60), announce=True)
    (event,) = world.bus.published("batches")

    assert door.push(event, "wrong") == 401

    assert door.handled == []
