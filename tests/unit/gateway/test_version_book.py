"""The book of versions stays true, and stays useful while store or serving are away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from tidemill_contracts.errors import NotFound, Unavailable
from tidemill_contracts.manifest import Labels, change_labels
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_gateway.plane.signatures import SignatureCache, VersionInfo
from tidemill_gateway.plane.version_book import ASKING_MAX, VersionBook
from tidemill_gateway.plane.versions import Target
from tidemill_gateway.wire.model_pb2 import ModelVersionStatus, SignatureDefMap


@dataclass
class Serving:
    """Versions per model, and whether it answers."""

    available: dict[str, list[int]] = field(default_factory=dict)
    down: bool = False
    asked: int = 0
    described: list[int] = field(default_factory=list)

    async def statuses(self, model: str) -> Sequence[ModelVersionStatus]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            raise Unavailable("connection refused")
        if model not in self.available:
            raise NotFound(f"Could not find any versions of model {model}")
        return [
            ModelVersionStatus(version=version, state=ModelVersionStatus.AVAILABLE)
            for version in self.available[model]
        ]

    async def version_info(self, model: str, version: int) -> VersionInfo:
        self.described.append(version)
        await asyncio.sleep(0)
        return VersionInfo({}, SignatureDefMap())


@dataclass
class World:
    """A book with its two sources and a clock that the test turns."""

    serving: Serving = field(default_factory=Serving)
    store: MemoryStore = field(default_factory=MemoryStore)
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.signatures = SignatureCache(self.serving.version_info)
        self.book = VersionBook(
            self.serving.statuses, self.store, self.signatures, ThreadPoolExecutor(2), lambda: self.now_s
        )

    def label(self, **labels: int) -> None:
        change_labels(self.store, "digits", lambda _: Labels(**labels))

    async def stable(self) -> int:
        return (await self.book.resolve(Target("digits"))).version


@pytest.fixture
def world() -> World:
    return World()


def test_a_model_is_found_at_its_first_request(world: World, run) -> None:
    world.serving.available = {"digits": [1]}

    assert run(world.stable()) == 1


def test_stable_follows_its_label_once_the_version_is_loaded(world: World, run) -> None:
    async def scenario() -> None:
        world.serving.available = {"digits": [1]}
        world.label(stable=1)
        await world.book.refresh()

        world.label(stable=2, previous=1)
        await world.book.refresh()
        assert await world.stable() == 1

        world.serving.available = {"digits": [1, 2]}
        await world.book.refresh()
        assert await world.stable() == 2

    run(scenario())


def test_signatures_are_known_before_the_version_gets_traffic(world: World, run) -> None:
    async def scenario() -> None:
        world.serving.available = {"digits": [1]}
        world.label(stable=1)

        await world.book.refresh()

        assert world.signatures.known("digits", 1) is not None

    run(scenario())


def test_what_is_unloaded_is_forgotten_with_its_signatures(world: World, run) -> None:
    async def scenario() -> None:
        world.serving.available = {"digits": [1, 2]}
        world.label(stable=2)
        await world.book.refresh()

        world.serving.available = {"digits": [2]}
        await world.book.refresh()

        assert world.signatures.known("digits", 1) is None
        world.now_s += 10
        with pytest.raises(NotFound):
            await world.book.resolve(Target("digits", version=1))

    run(scenario())


def test_while_serving_is_away_what_was_seen_stands_and_the_reason_is_told(world: World, run) -> None:
    async def scenario() -> None:
        world.serving.available = {"digits": [1]}
        world.label(stable=1)
        await world.book.refresh()

        world.serving.down = True
        await world.book.refresh()

        assert await world.stable() == 1
        assert world.book.serving_error == "connection refused"

    run(scenario())


def test_while_the_store_is_away_the_labels_stand(world: World, run) -> None:
    async def scenario() -> None:
        world.serving.available = {"digits": [1, 2]}
        world.label(stable=1)
        await world.book.refresh()

        world.store.failing = True
        await world.book.refresh()

        assert await world.stable() == 1

    run(scenario())


def test_an_unknown_model_is_looked_for_but_not_at_every_request(world: World, run) -> None:
    async def scenario() -> None:
        for _ in range(20):
            with pytest.raises(NotFound):
                await world.book.resolve(Target("letters"))

        assert world.serving.asked == 1
        assert "letters" not in world.book.views

    run(scenario())


def test_all_who_come_first_to_a_new_model_are_answered_from_one_look(world: World, run) -> None:
    async def scenario() -> None:
        await world.book.refresh()
        world.serving.available["digits"] = [1]
        world.serving.asked = 0

        found = await asyncio.gather(*[world.book.resolve(Target("digits")) for _ in range(20)])

        assert {resolved.version for resolved in found} == {1}
        assert world.serving.asked == 1

    run(scenario())


def test_who_comes_while_the_book_refreshes_waits_for_that_look(world: World, run) -> None:
    async def scenario() -> None:
        world.serving.available["digits"] = [1]
        refreshing = asyncio.create_task(world.book.refresh_model("digits"))
        await asyncio.sleep(0)

        assert await world.stable() == 1
        await refreshing

    run(scenario())


def test_a_flood_of_unknown_names_asks_serving_only_so_often(world: World, run) -> None:
    async def scenario() -> None:
        names = [Target(f"unknown-{number}") for number in range(200)]

        found = await asyncio.gather(*map(world.book.resolve, names), return_exceptions=True)

        assert all(isinstance(one, NotFound) for one in found)
        assert world.serving.asked <= ASKING_MAX

    run(scenario())


def test_signatures_are_fetched_once_however_many_ask(world: World, run) -> None:
    async def scenario() -> None:
        await asyncio.gather(*[world.signatures.get("digits", 1) for _ in range(10)])

        assert world.serving.described == [1]

    run(scenario())
