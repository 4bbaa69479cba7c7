"""Settings: what is wrong is said by variable, with an example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tidemill_chassis.adapters import open_bus, open_store
from tidemill_chassis.settings import Address, Environment, SettingsError


def env(value: str = "") -> Environment:
    return Environment({"X": value})


def test_values_are_read_by_type() -> None:
    assert env("a").text("X") == "a"
    assert env("7").integer("X", 1) == 7
    assert env("0.5").seconds("X", 1) == 0.5
    assert env("64MiB").size_bytes("X", 1) == 64 * 2**20
    assert env("127.0.0.1:80").address("X", "h:1") == Address("127.0.0.1", 80)
    assert env("[::1]:80").address("X", "h:1") == Address("::1", 80)
    assert env("/a").path("X", "b") == Path("/a")
    assert env("true").flag("X", False) is True


def test_an_empty_variable_takes_the_default() -> None:
    assert env("").text("X", "default") == "default"
    assert env(" ").integer("X", 3) == 3


@pytest.mark.parametrize(
    "read",
    [
        lambda: env().text("X", example="redis://…"),
        lambda: env("a").integer("X", 1),
        lambda: env("1.5").integer("X", 1),
        lambda: env("11").integer("X", 1, maximum=10),
        lambda: env("nan").seconds("X", 1),
        lambda: env("-1").seconds("X", 1),
        lambda: env("64 parsecs").size_bytes("X", 1),
        lambda: env("0").size_bytes("X", 1),
        lambda: env("localhost").address("X", "h:1"),
        lambda: env("h:70000").address("X", "h:1"),
        lambda: env("perhaps").flag("X", False),
    ],
)
def test_what_is_wrong_names_the_variable(read: Callable[[], Any]) -> None:
    with pytest.raises(SettingsError, match="X"):
        read()


@pytest.mark.parametrize("url", ["", "redis", "kafka://x", "ftp://x/y"])
def test_an_address_that_no_adapter_has_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(SettingsError, match="redis://"):
        open_bus(url)
    with pytest.raises(SettingsError, match="file:///"):
        open_store(url)
