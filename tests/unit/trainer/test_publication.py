"""Publication: whole or invisible, never twice, never over another's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import Conflict
from tidemill_contracts.events import ModelPublished
from tidemill_contracts.manifest import Labels, change_labels, read_labels
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_trainer.publishing.publication import (
    Publication,
    announce_version,
    find_manifest,
    last_stored_version,
    write_version,
)

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
THIRD = Publication("digits", 3, "digits-1", 2, NOON)
FILES = {"saved_model.pb": b"model", "variables/variables.index": b"index"}


def test_the_manifest_lists_every_file_with_its_size_and_is_found_again() -> None:
    store = MemoryStore()

    manifest = write_version(store, THIRD, FILES)

    assert {file.path: file.size_bytes for file in manifest.files} == {
        "saved_model.pb": 5,
        "variables/variables.index": 5,
    }
    assert find_manifest(store, THIRD) == manifest


def test_a_version_without_a_manifest_is_not_found_but_its_number_is_taken() -> None:
    store = MemoryStore()
    store.put("models/digits/3/saved_model.pb", b"half")
    store.put("models/digits/labels.json", b"{}")

    assert find_manifest(store, THIRD) is None
    assert last_stored_version(store, "digits") == 3


def test_a_whole_version_is_never_written_over() -> None:
    store = MemoryStore()
    write_version(store, THIRD, FILES)

    with pytest.raises(Conflict):
        write_version(store, THIRD, FILES)


def test_a_version_of_another_round_is_a_conflict() -> None:
    store = MemoryStore()
    write_version(store, THIRD, FILES)

    with pytest.raises(Conflict, match="digits-1"):
        find_manifest(store, replace(THIRD, round_id="digits-2"))


def test_announcing_twice_says_the_same_thing_twice() -> None:
    store, bus = MemoryStore(), MemoryBus()
    manifest = write_version(store, THIRD, FILES)

    announce_version(store, bus, THIRD, manifest)
    announce_version(store, bus, THIRD, manifest)

    first, second = (from_message(each, ModelPublished) for each in bus.published("models"))
    assert first == second
    assert (first.event_id, first.digest) == ("digits-1-published", manifest.digest)
    assert read_labels(store, "digits")[0] == Labels(candidate=3)


@pytest.mark.parametrize(
    "labels", [Labels(stable=3, previous=2), Labels(stable=4, previous=3), Labels(stable=2, candidate=5)]
)
def test_a_version_that_was_served_or_overtaken_is_not_made_candidate_again(labels: Labels) -> None:
    store, bus = MemoryStore(), MemoryBus()
    manifest = write_version(store, THIRD, FILES)
    change_labels(store, "digits", lambda _: labels)

    announce_version(store, bus, THIRD, manifest)

    assert read_labels(store, "digits")[0] == labels
