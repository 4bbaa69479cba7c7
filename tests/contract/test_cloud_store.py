"""What the Cloud Storage adapter promises beyond the port: faults, lost answers, checksums, large objects."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest
from tidemill_chassis.adapters import gcs_objects
from tidemill_chassis.adapters.gcs_objects import CloudStore
from tidemill_contracts.errors import Conflict, Corrupt, NotFound, Unavailable
from tidemill_contracts.objects import ABSENT

LARGE_BYTES = 9 * 2**20


@pytest.fixture
def store(storage_server: Any, bucket_url: str) -> CloudStore:
    return CloudStore.from_url(bucket_url, storage_server.environ)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outages count as such after half a second."""
    quick = gcs_objects._RETRY.with_delay(initial=0.05, maximum=0.1).with_timeout(0.5)
    monkeypatch.setitem(gcs_objects._CALL, "retry", quick)


def test_a_write_whose_answer_was_lost_is_done_once(store: CloudStore, storage_server: Any) -> None:
    storage_server.set_faults({"operation": "put", "kind": "lost_answer", "count": 1})

    made = store.put("a", b"1", if_generation=ABSENT)

    assert storage_server.struck() == [1]
    assert store.stat("a") == made
    with pytest.raises(Conflict):
        store.put("a", b"1", if_generation=ABSENT)


def test_a_write_over_whatever_is_there_happens_once_though_its_answer_was_lost(
    store: CloudStore, storage_server: Any
) -> None:
    first = store.put("a", b"1")
    storage_server.set_faults({"operation": "put", "kind": "lost_answer", "count": 1})

    second = store.put("a", b"2")

    assert second.generation > first.generation
    assert store.stat("a") == second


def test_a_deletion_whose_answer_was_lost_is_done(store: CloudStore, storage_server: Any) -> None:
    store.put("a", b"1")
    storage_server.set_faults({"operation": "delete", "kind": "lost_answer", "count": 1})

    store.delete("a")

    with pytest.raises(NotFound):
        store.get("a")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_errors_that_pass_are_not_seen(store: CloudStore, storage_server: Any, status: int) -> None:
    storage_server.set_faults({"status": status, "share": 0.3}, {"kind": "reset", "share": 0.1}, seed=status)

    for number in range(10):
        store.put(f"a/{number}", str(number).encode(), if_generation=ABSENT)

    assert [store.get(info.name) for info in store.list("a/")] == [str(n).encode() for n in range(10)]
    assert all(storage_server.struck())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["status", "reset"])
def test_an_outage_is_unavailable_and_ends(store: CloudStore, storage_server: Any, kind: str) -> None:
    store.put("a", b"1")
    storage_server.set_faults({"kind": kind})

    for attempt in (
        lambda: store.put("a", b"2"),
        lambda: store.get("a"),
        lambda: store.stat("a"),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
    ):
        with pytest.raises(Unavailable):
            attempt()
    storage_server.set_faults()

    assert store.get("a") == b"1"


@pytest.mark.parametrize("kind", ["flip", "cut"])
def test_an_object_damaged_on_its_way_is_read_again(
    store: CloudStore, storage_server: Any, kind: str
) -> None:
    store.put("a", b"x" * 100_000)
    storage_server.set_faults({"operation": "get", "kind": kind, "count": 1})

    assert store.get("a") == b"x" * 100_000
    assert storage_server.struck() == [1]


def test_an_object_that_never_matches_its_checksum_is_corrupt(store: CloudStore, storage_server: Any) -> None:
    store.put("a", b"x" * 100)
    storage_server.set_faults({"operation": "get", "kind": "flip"})

    with pytest.raises(Corrupt, match="checksum"):
        store.get("a")


def test_a_large_object_arrives_whole_over_faults(store: CloudStore, storage_server: Any) -> None:
    content = os.urandom(LARGE_BYTES)
    storage_server.set_faults({"operation": "put", "share": 0.3}, seed=3)

    store.put("large", content, if_generation=ABSENT)

    with pytest.raises(Conflict):
        store.put("large", content, if_generation=ABSENT)
    assert store.get("large") == content


def test_a_bucket_that_is_missing_names_its_remedy(store: CloudStore) -> None:
    elsewhere = CloudStore(store._client, "never-made", emulator=True)

    with pytest.raises(Unavailable, match="tidemill provision"):
        elsewhere.put("a", b"1", if_generation=ABSENT)
    with pytest.raises(Unavailable, match="tidemill provision"):
        elsewhere.ping()


def test_the_store_can_be_pinged(store: CloudStore) -> None:
    store.ping()
    CloudStore(store._client, store._bucket.name, emulator=False).ping()


@pytest.mark.usefixtures("impatient")
def test_a_server_that_was_killed_keeps_what_it_confirmed(own_storage_server: Any, bucket_url: str) -> None:
    store = CloudStore.from_url(bucket_url, own_storage_server.environ)
    made = [store.put(f"a/{number}", b"x" * number) for number in range(20)]

    own_storage_server.kill()
    with pytest.raises(Unavailable):
        store.get("a/1")
    own_storage_server.start()

    assert list(store.list("a/")) == sorted(made, key=lambda info: info.name)
    assert store.put("a/0", b"more").generation > made[-1].generation


def test_many_threads_write_at_once(store: CloudStore) -> None:
    def write(thread: int) -> None:
        for number in range(10):
            store.put(f"{thread}/{number}", b"x", if_generation=ABSENT)

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(list(store.list(""))) == 80


def test_lists_come_in_pages_and_reads_in_ranges(store: CloudStore) -> None:
    """Of the server: what other clients than ours may ask of it."""
    for name in ("a/1", "a/2", "b/1", "c"):
        store.put(name, name.encode())
    bucket = store._bucket

    pages = [[blob.name for blob in page] for page in store._client.list_blobs(bucket, page_size=2).pages]
    folders = store._client.list_blobs(bucket, delimiter="/")
    names = [blob.name for blob in folders]

    assert pages == [["a/1", "a/2"], ["b/1", "c"]]
    assert (names, folders.prefixes) == (["c"], {"a/", "b/"})
    assert bucket.blob("a/1").download_as_bytes(start=1, end=2) == b"/1"
