"""tidemill replay goes on where it was stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tidemill.commands import replay
from tidemill.main import main
from tidemill_chassis import retry
from tidemill_contracts.bus import Message
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.memory_bus import MemoryBus

MakeMessage = Callable[..., Message]


class StumblingBus(MemoryBus):
    """Refuses every publish after the first, until told otherwise."""

    stumbling = True

    def publish(self, topic: str, messages: Any) -> list[str]:
        if self.stumbling and self.published(topic):
            raise Unavailable("the bus does not answer")
        return super().publish(topic, messages)


def test_a_stopped_replay_goes_on_after_what_it_published(
    kept: Any, make_message: MakeMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [make_message("7", ident=str(hour)) for hour in range(3)]
    for hour, message in enumerate(messages):
        kept.keep([message], hour=hour)
    bus = StumblingBus()
    monkeypatch.setattr(replay, "open_bus", lambda _url: bus)
    monkeypatch.setattr(retry, "call", lambda function: function())
    for name, value in kept.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["tidemill", "--data", str(Path(kept.folder)), "replay", "digits"])

    with pytest.raises(SystemExit):
        main()
    bus.stumbling = False
    main()

    assert bus.published("samples") == messages
