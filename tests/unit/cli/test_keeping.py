"""Waiting until what was published lies in the store, with no trainer anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tidemill.keeping import KeptIds, object_names, wait_until_kept
from tidemill.unread import Unread
from tidemill_contracts.bus import Message
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.identified import identified

MakeMessage = Callable[..., Message]


def published(*messages: Message) -> Unread:
    unread = Unread()
    for message in messages:
        unread.add(each.sample_id for each in identified(from_message(message, SamplesReceived)))
    return unread


def test_it_ends_when_the_last_sample_is_in_an_object_that_nobody_has_indexed(
    kept: Any, make_message: MakeMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_message("1", "2", ident="a"), make_message("3", ident="b")
    unread, looks = published(first, second), list[int]()

    def persist(_: float) -> None:
        looks.append(len(unread))
        kept.keep([(first, second)[len(looks) - 1]], hour=len(looks), index=False)

    monkeypatch.setattr("tidemill.keeping.time.sleep", persist)

    wait_until_kept(KeptIds(kept.store, "digits"), unread, limit_s=60)

    assert looks == [3, 1]


def test_what_lay_there_before_is_not_read_again_and_does_not_count(
    kept: Any, make_message: MakeMessage
) -> None:
    message = make_message("1", ident="a")
    kept.keep([message], index=False)
    before = object_names(kept.store, "digits")

    with pytest.raises(Unavailable, match="1 samples that ingest confirmed are not in the store"):
        wait_until_kept(KeptIds(kept.store, "digits", before), published(message), limit_s=0)
    kept.keep([message], hour=1, index=False)
    wait_until_kept(KeptIds(kept.store, "digits", before), published(message), limit_s=0)
