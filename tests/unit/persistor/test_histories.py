"""Whatever happens in whatever order, nothing is lost: random histories on a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tidemill_contracts.bus import DEAD_MESSAGE_ID, DEAD_SAMPLE, Backlog, Delivery, Message, Subscription
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.events import BatchStored
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.objects import ObjectInfo
from tidemill_contracts.stored_batch import decode_batch
from tidemill_persistor.batching import BatchLimits, Hand, HandLimits
from tidemill_persistor.leases import LeaseKeeper
from tidemill_persistor.worker import Worker

LEASE_S = 30.0
POINTS = (
    "before the write",
    "after the write",
    "before the announcement",
    "after the announcement",
    "before the acknowledgement",
    "half way through the acknowledgement",
    "after the acknowledgement",
    "before the burial",
    "after the burial",
    "before the letters of samples",
    "after the letters of samples",
)
POISON = Message(b"not JSON")
DONE = Backlog(waiting=0, leased=0)


class Crash(BaseException):
    """The process is gone: nothing of it runs any more, so nothing may catch this."""


class World:
    """A store and a bus that outlive their persistors, and fail when they are told to."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.armed: str | None = None
        self.bus = Bus(self)
        self.store = Store(self)
        self.subscription = Watched(
            self, self.bus.subscribe("samples", "persistor", ack_deadline_s=LEASE_S, attempts_max=10**6)
        )
        self.published: dict[str, bytes] = {}
        self.poisoned = 0
        self.mixed: set[str] = set()
        self.workers = [self.new_worker(), self.new_worker()]

    def new_worker(self) -> tuple[Worker, LeaseKeeper]:
        leases = LeaseKeeper(self.subscription, LEASE_S)
        hand = Hand(BatchLimits(3, 10**6, 1.0), HandLimits(8, 10**9))
        worker = Worker(
            self.subscription,
            self.store,
            self.bus,
            hand=hand,
            leases=leases,
            clock=lambda: self.now_s,
            pull_wait_s_max=0.0,
        )
        return worker, leases

    def pass_point(self, name: str) -> None:
        if self.armed == name:
            self.armed = None
            raise Crash(name)

    def act(self, number: int, action: Callable[[Worker, LeaseKeeper], None]) -> None:
        """Let a persistor act; one that crashes is replaced by one that knows nothing."""
        try:
            action(*self.workers[number])
        except Unavailable:
            pass
        except Crash:
            self.workers[number] = self.new_worker()

    def announced(self) -> dict[str, bytes]:
        """What every announced object holds, by message id."""
        names = {from_message(each, BatchStored).object for each in self.bus.published("batches")}
        kept = (message for name in names for message in decode_batch(self.store.get(name), name))
        return {message.message_id: message.data for message in kept}


class Bus(MemoryBus):
    def __init__(self, world: World) -> None:
        super().__init__(lambda: world.now_s)
        self._world = world

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        if topic == "samples.dead" and all(DEAD_SAMPLE in message.attributes for message in messages):
            self._world.pass_point("before the letters of samples")
            ids = super().publish(topic, messages)
            self._world.pass_point("after the letters of samples")
            return ids
        if topic != "batches":
            return super().publish(topic, messages)
        self._world.pass_point("before the announcement")
        ids = super().publish(topic, messages)
        self._world.pass_point("after the announcement")
        return ids


class Store(MemoryStore):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def put(self, name: str, data: bytes, *, if_generation: int | None = None) -> ObjectInfo:
        self._world.pass_point("before the write")
        info = super().put(name, data, if_generation=if_generation)
        self._world.pass_point("after the write")
        return info


class Watched:
    """The subscription, which lets nobody acknowledge what is not kept and announced."""

    def __init__(self, world: World, inner: Subscription) -> None:
        self._world = world
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        self._world.pass_point("before the acknowledgement")
        assert set(ack_ids) <= self._world.announced().keys(), "acknowledged too early"
        if self._world.armed == "half way through the acknowledgement":
            self._inner.acknowledge(list(ack_ids)[: len(ack_ids) // 2])
        self._world.pass_point("half way through the acknowledgement")
        self._inner.acknowledge(ack_ids)
        self._world.pass_point("after the acknowledgement")

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        self._world.pass_point("before the burial")
        self._inner.dead_letter(delivery, reason)
        self._world.pass_point("after the burial")


Step = Callable[[World], None]


def publish(count: int) -> Step:
    def step(world: World) -> None:
        if world.bus.failing:
            return
        for _ in range(count):
            number = len(world.published) + world.poisoned
            dataset, split = ("a", "b")[number % 2], ("train", "test")[number % 3 == 0]
            sample = f'{{"id":"s{number}","label":"x","text":"{number}"}}'
            body = f'{{"dataset":"{dataset}","split":"{split}","samples":[{sample}]}}'.encode()
            [ident] = world.bus.publish("samples", [Message(body)])
            world.published[ident] = body

    return step


def publish_mixed(world: World) -> None:
    """A message with a bad sample between two sound ones."""
    if world.bus.failing:
        return
    number = len(world.published) + world.poisoned
    samples = f'{{"id":"s{number}","label":"x","text":"{number}"}},{{"text":"bad"}},{{"label":"y","text":""}}'
    body = f'{{"dataset":"a","samples":[{samples}]}}'.encode()
    [ident] = world.bus.publish("samples", [Message(body)])
    world.published[ident] = body
    world.mixed.add(ident)


def letters(world: World) -> tuple[list[bytes], set[str]]:
    """The messages that were buried whole, and those of which a sample was, which may be told of again."""
    dead = world.bus.published("samples.dead")
    whole = [letter.data for letter in dead if DEAD_SAMPLE not in letter.attributes]
    parts = {letter.attributes[DEAD_MESSAGE_ID] for letter in dead if DEAD_SAMPLE in letter.attributes}
    return whole, parts


def publish_poison(world: World) -> None:
    if not world.bus.failing:
        world.bus.publish("samples", [POISON])
        world.poisoned += 1


def turn(number: int) -> Step:
    return lambda world: world.act(number, lambda worker, _: worker.turn())


def extend(number: int) -> Step:
    return lambda world: world.act(number, lambda _, leases: leases.extend())


def kill(number: int) -> Step:
    def step(world: World) -> None:
        world.workers[number] = world.new_worker()

    return step


def stop(number: int) -> Step:
    def step(world: World) -> None:
        world.act(number, lambda worker, _: worker.flush())
        world.workers[number] = world.new_worker()

    return step


def arm(point: str) -> Step:
    def step(world: World) -> None:
        world.armed = point

    return step


def wait(seconds: float) -> Step:
    def step(world: World) -> None:
        world.now_s += seconds

    return step


def store_fails(failing: bool) -> Step:
    def step(world: World) -> None:
        world.store.failing = failing

    return step


def bus_fails(failing: bool) -> Step:
    def step(world: World) -> None:
        world.bus.failing = failing

    return step


WORKER = st.integers(0, 1)
STEPS = st.one_of(
    st.builds(publish, st.integers(1, 5)),
    st.just(publish_poison),
    st.just(publish_mixed),
    st.builds(turn, WORKER),
    st.builds(turn, WORKER),
    st.builds(extend, WORKER),
    st.builds(kill, WORKER),
    st.builds(stop, WORKER),
    st.builds(arm, st.sampled_from(POINTS)),
    st.builds(wait, st.sampled_from([0.5, 1.0, 20.0, 31.0])),
    st.builds(store_fails, st.booleans()),
    st.builds(bus_fails, st.booleans()),
)


def settle(world: World) -> None:
    """Calm: everything answers, time passes, until nothing is left to do."""
    world.store.failing = world.bus.failing = False
    world.armed = None
    for _ in range(200):
        if world.subscription.backlog() == DONE:
            return
        for step in (turn(0), turn(1), wait(1.0), turn(0), turn(1), wait(LEASE_S)):
            step(world)
    raise AssertionError(f"it never came to rest: {world.subscription.backlog()}")


@pytest.mark.long
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, max_size=40))
def test_no_history_loses_alters_or_buries_a_sound_message(steps: list[Step]) -> None:
    world = World()

    for step in steps:
        step(world)
    settle(world)

    assert world.announced() == world.published
    assert letters(world) == ([POISON.data] * world.poisoned, world.mixed)


def test_a_crash_at_every_named_point_loses_nothing() -> None:
    for point in POINTS:
        world = World()
        for step in (
            publish(4),
            publish_poison,
            publish_mixed,
            publish(3),
            arm(point),
            turn(0),
            turn(0),
            wait(1.0),
            turn(0),
        ):
            step(world)
        assert world.armed is None, f"no crash came {point}"

        settle(world)

        assert world.announced() == world.published, point
        assert letters(world) == ([POISON.data], world.mixed), point


def test_a_message_delivered_to_two_persistors_is_the_same_object_at_both() -> None:
    world = World()
    publish(3)(world)
    turn(0)(world)  # takes them, and is then frozen past the deadline
    for step in (wait(LEASE_S + 1), turn(1), turn(1), turn(0)):
        step(world)

    settle(world)

    splits = {name.name.split("/")[2] for name in world.store.list("samples/")}
    assert world.announced() == world.published
    assert (
        len(list(world.store.list("samples/"))) == len(splits) + 1
    )  # two datasets, one of them in two splits
