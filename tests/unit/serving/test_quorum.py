"""Several replicas call a version stable only after each of them has proven it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tidemill_chassis.settings import SettingsError
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.manifest import Labels
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_serving.memory_model_server import MemoryModelServer
from tidemill_serving.quorum import BEAT_S, LIVE_S, Quorum
from tidemill_serving.settings import Settings

ENVIRON = {"TIDEMILL_BUS": "memory://", "TIDEMILL_STORE": "memory://"}


class Fleet:
    """Replicas that share a store and a bus; each has a server and a folder of its own."""

    def __init__(self, house: Any, root: Path, names: str, replicas: int) -> None:
        self.house = house
        self.replicas = replicas
        self.members = {name: replace(house, root=root / name, server=MemoryModelServer()) for name in names}
        for name in names:
            self.start(name)

    def start(self, name: str) -> None:
        """Start a replica, anew if it ran."""
        member = self.members[name]
        quorum = Quorum(
            self.house.store,
            "digits",
            replica=name,
            replicas=self.replicas,
            clock=lambda: self.house.now_s,
        )
        member.agent(quorum=quorum)

    def turn(self, names: str, seconds: float = 10.0) -> None:
        """Let time go by while these replicas step."""
        end_s = self.house.now_s + seconds
        while self.house.now_s < end_s:
            for name in names:
                self.members[name].rollout.step()
            self.house.now_s += 0.5


@pytest.fixture
def fleet(house: Any, tmp_path: Path) -> Callable[..., Fleet]:
    return lambda names, replicas: Fleet(house, tmp_path, names, replicas)


def proofs(house: Any) -> list[str]:
    return [info.name for info in house.store.list("models/digits/proofs/")]


def test_a_version_is_promoted_when_all_replicas_have_proven_it(
    house: Any, fleet: Callable[..., Fleet]
) -> None:
    three = fleet("abc", 3)
    house.publish(1)

    three.turn("abc")

    assert house.labels == Labels(stable=1)
    assert {name: one.server.labelled("digits", "stable") for name, one in three.members.items()} == {
        "a": 1,
        "b": 1,
        "c": 1,
    }
    assert proofs(house) == []


def test_a_version_stays_candidate_while_one_replica_still_loads_it(
    house: Any, fleet: Callable[..., Fleet]
) -> None:
    three = fleet("abc", 3)
    house.publish(1)
    slow = three.members["c"]
    slow.server.slow.add(slow.path(1))

    three.turn("abc", 20)
    assert house.labels == Labels(candidate=1)

    slow.server.slow.clear()
    three.turn("abc")
    assert house.labels == Labels(stable=1)


def test_a_replica_that_never_came_is_waited_for_and_does_not_refuse_the_version(
    house: Any, fleet: Callable[..., Fleet]
) -> None:
    three = fleet("abc", 3)
    house.publish(1)

    three.turn("ab", 200)

    assert house.labels == Labels(candidate=1)
    assert house.events == []


def test_a_replica_that_died_after_its_proof_counts_no_more(house: Any, fleet: Callable[..., Fleet]) -> None:
    three = fleet("abc", 3)
    house.publish(1)
    three.turn("ab", 10)  # b proves, and dies
    three.turn("a", LIVE_S + BEAT_S)

    three.turn("ac", 20)
    assert house.labels == Labels(candidate=1)

    three.start("b")
    three.turn("abc", 10)
    assert house.labels == Labels(stable=1)


def test_one_replica_that_cannot_load_a_version_refuses_it_for_all(
    house: Any, fleet: Callable[..., Fleet]
) -> None:
    three = fleet("abc", 3)
    house.publish(1)
    broken = three.members["b"]
    broken.server.broken.add(broken.path(1))

    three.turn("abc")

    assert house.labels == Labels()
    assert [type(event).__name__ for event in house.events] == ["ModelRefused"]
    assert proofs(house) == []


def test_a_proof_of_a_replica_that_is_gone_never_counts_for_a_later_trial(
    house: Any, fleet: Callable[..., Fleet]
) -> None:
    first = fleet("ab", 3)
    house.publish(1)
    first.turn("ab")
    assert len(proofs(house)) == 2

    again = fleet("ac", 3)
    again.turn("ac", 30)

    assert house.labels == Labels(candidate=1)


def test_more_replicas_than_needed_do_no_harm(house: Any, fleet: Callable[..., Fleet]) -> None:
    three = fleet("abc", 2)
    house.publish(1)

    three.turn("abc")

    assert house.labels == Labels(stable=1)


def test_a_clock_that_is_off_changes_nothing() -> None:
    store = MemoryStore()
    clocks = {"a": 0.0, "b": 1e9}
    quorums = {
        name: Quorum(store, "digits", replica=name, replicas=2, clock=lambda name=name: clocks[name])  # type: ignore[misc]
        for name in clocks
    }

    agreed = dict.fromkeys(clocks, False)
    for _ in range(10):
        for name, quorum in quorums.items():
            agreed[name] = quorum.agrees(1)
            clocks[name] += 1.0

    assert agreed == {"a": True, "b": True}


def test_one_replica_alone_asks_nobody() -> None:
    alone = Quorum(MemoryStore(failing=True), "digits", replica="a", replicas=1)

    assert alone.agrees(1)
    alone.forget()


def test_without_the_store_nobody_agrees() -> None:
    store = MemoryStore(failing=True)

    with pytest.raises(Unavailable):
        Quorum(store, "digits", replica="a", replicas=2).agrees(1)


def test_a_replica_is_alone_and_named_as_its_host_unless_told() -> None:
    settings = Settings.from_env(ENVIRON)

    assert (settings.replicas, settings.replica) == (1, socket.gethostname())


@pytest.mark.parametrize("name", ["../a", "a/b", "a b", ".a", "x" * 101])
def test_a_replicas_name_that_could_leave_its_place_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="such as serving-0"):
        Settings.from_env({**ENVIRON, "TIDEMILL_SERVING_REPLICA": name})
