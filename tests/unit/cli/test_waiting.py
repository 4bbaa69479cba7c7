"""Waiting for what was published: by the samples' ids in the registry, whatever the bus."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tidemill import settling
from tidemill.deployment import find_addresses
from tidemill.observation import Observer
from tidemill.settling import wait_until_settled
from tidemill.unread import CHECKED_AT_ONCE, Unread
from tidemill_contracts.bus import Message
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.identified import identified
from tidemill_contracts.model_spec import load_specs
from tidemill_registry.records import RefusedSample
from tidemill_registry.refused_rows import add_refusals

MakeMessage = Callable[..., Message]


def ids_of(message: Message) -> list[str]:
    return [each.sample_id for each in identified(from_message(message, SamplesReceived))]


def waiting_for(ids: list[str]) -> Unread:
    unread = Unread()
    unread.add(ids)
    return unread


def test_samples_count_as_read_in_any_order_and_are_asked_for_in_portions() -> None:
    ids = [str(number) for number in range(3 * CHECKED_AT_ONCE)]
    unread, asked = waiting_for(ids), list[int]()

    def accounted(portion: list[str]) -> set[str]:
        asked.append(len(portion))
        return set(portion) & read

    read = set(ids[:CHECKED_AT_ONCE]) | {ids[CHECKED_AT_ONCE + 1], ids[-1]}
    unread.look(accounted)
    left = len(unread)
    read = set(ids)
    unread.look(accounted)

    assert (left, len(unread)) == (2 * CHECKED_AT_ONCE - 1, 0)
    assert max(asked) == CHECKED_AT_ONCE


def test_samples_are_in_flight_until_they_are_rows_or_refused(kept: Any, make_message: MakeMessage) -> None:
    first, second = make_message("1", "2", ident="a"), make_message("3", "x", ident="b")
    unread = waiting_for([*ids_of(first), *ids_of(second)])
    addresses = find_addresses(kept.folder, kept.environment | {"TIDEMILL_BUS": "pubsub://nobody-is-asked"})
    spec = load_specs(Path("models"))["digits"]
    seen: list[int] = []

    with Observer(addresses, spec, unread) as observer:
        seen.append(observer.look().in_flight)
        name = kept.keep([first])
        seen.append(observer.look().in_flight)
        with kept.registry.write() as sql:
            refused = [
                RefusedSample(name, 9, position, ident, "no") for position, ident in enumerate(ids_of(second))
            ]
            add_refusals(sql, "digits", refused)
        seen.append(observer.look().in_flight)

    assert seen == [4, 2, 0]


def test_waiting_ends_with_the_ids_that_never_arrive(
    kept: Any, make_message: MakeMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "STILL_S_MAX", 0.0)
    monkeypatch.setattr(settling, "LOOK_EVERY_S", 0.01)
    addresses = find_addresses(kept.folder, kept.environment)

    with pytest.raises(Unavailable, match="1 samples that ingest confirmed are not read, such as gone"):
        wait_until_settled(
            addresses, "digits", waiting_for(["gone"]), Console(file=io.StringIO()), limit_s=60
        )
