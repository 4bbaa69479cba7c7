"""The store port's specification: every adapter passes it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tidemill_chassis.adapters.files import FileStore
from tidemill_contracts.errors import Conflict, InvalidInput, NotFound
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.objects import ABSENT, ObjectStore


@pytest.fixture(params=["memory", "files", "cloud"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "files":
        return FileStore(tmp_path / "store")
    from tidemill_chassis.adapters.gcs_objects import CloudStore  # heavy, and most runs do without

    environ = request.getfixturevalue("storage_environ")
    return CloudStore.from_url(request.getfixturevalue("bucket_url"), environ)


def names(store: ObjectStore, prefix: str) -> list[str]:
    return [info.name for info in store.list(prefix)]


def test_what_is_put_is_got(store: ObjectStore) -> None:
    info = store.put("a/b.bin", b"\x00\xff")

    assert store.get("a/b.bin") == b"\x00\xff"
    assert store.stat("a/b.bin") == info
    assert info.size_bytes == 2
    assert info.generation > ABSENT


@pytest.mark.parametrize("name", ["a", "a/b", "a/b/c"])
def test_what_is_not_there_is_not_found(store: ObjectStore, name: str) -> None:
    store.put("a/b/c/d", b"x")

    with pytest.raises(NotFound):
        store.get(name)
    with pytest.raises(NotFound):
        store.stat(name)


def test_create_only_refuses_a_second_writer(store: ObjectStore) -> None:
    store.put("a", b"first", if_generation=ABSENT)

    with pytest.raises(Conflict):
        store.put("a", b"second", if_generation=ABSENT)

    assert store.get("a") == b"first"


def test_a_write_over_a_known_generation_succeeds_once(store: ObjectStore) -> None:
    first = store.put("a", b"1")
    second = store.put("a", b"2", if_generation=first.generation)

    with pytest.raises(Conflict):
        store.put("a", b"3", if_generation=first.generation)

    assert second.generation > first.generation
    assert store.get("a") == b"2"


def test_generations_grow_with_every_write(store: ObjectStore) -> None:
    generations = [store.put("a", b"x").generation for _ in range(200)]

    assert generations == sorted(set(generations))


def test_of_many_racing_creators_one_wins(store: ObjectStore) -> None:
    won: list[int] = []

    def create(number: int) -> None:
        try:
            store.put("race/name", str(number).encode(), if_generation=ABSENT)
            won.append(number)
        except Conflict:
            pass

    threads = [threading.Thread(target=create, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1
    assert store.get("race/name") == str(won[0]).encode()


def test_a_list_is_by_name_and_by_prefix(store: ObjectStore) -> None:
    for name in ("b/2", "b/1", "a", "b/1.x", "bb/1", "c/d/e"):
        store.put(name, b"")

    assert names(store, "") == ["a", "b/1", "b/1.x", "b/2", "bb/1", "c/d/e"]
    assert names(store, "b/") == ["b/1", "b/1.x", "b/2"]
    assert names(store, "b") == ["b/1", "b/1.x", "b/2", "bb/1"]
    assert names(store, "c/d") == ["c/d/e"]
    assert names(store, "nothing/") == []


def test_a_deleted_object_is_gone_and_may_come_back(store: ObjectStore) -> None:
    store.put("a/b", b"1")

    store.delete("a/b")
    store.delete("a/b")

    assert names(store, "") == []
    assert store.put("a/b", b"2", if_generation=ABSENT).size_bytes == 1


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\nb", "a\x00b", "x" * 1025]
)
def test_a_name_that_no_store_takes_is_refused(store: ObjectStore, name: str) -> None:
    with pytest.raises(InvalidInput):
        store.put(name, b"")
    with pytest.raises(InvalidInput):
        store.get(name)


def test_a_reader_never_sees_a_part_of_an_object(store: ObjectStore) -> None:
    contents = [bytes([number]) * 300_000 for number in (1, 2)]
    store.put("a", contents[0])
    done = threading.Event()

    def rewrite() -> None:
        for number in range(30):
            store.put("a", contents[number % 2])
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    while not done.is_set():
        assert store.get("a") in contents
    writer.join()
