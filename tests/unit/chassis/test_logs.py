"""Logs: one JSON line per event, whatever is in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from tidemill_chassis import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_line_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("ingest")

    logs.get_logger("x").info("batch_stored", object="a/b", size_bytes=3, text="line\nline \ud800")

    [line] = lines_of(capsys)
    assert (line["service"], line["level"], line["event"]) == ("ingest", "info", "batch_stored")
    assert (line["object"], line["size_bytes"]) == ("a/b", 3)


def test_an_error_has_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("ingest")
    try:
        raise ValueError("why")
    except ValueError as error:
        logs.get_logger("x").error("failed", error=error)

    [line] = lines_of(capsys)
    assert line["error"] == "ValueError: why"
    assert "test_logs.py" in line["trace"]


def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("ingest", "warning")

    logs.get_logger("x").info("quiet")
    logs.get_logger("x").warning("loud")

    assert [line["event"] for line in lines_of(capsys)] == ["loud"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="TIDEMILL_LOG_LEVEL"):
        logs.configure("ingest", "loud")
