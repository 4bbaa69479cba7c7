"""Settings are right, or said to be wrong with a valid example."""

from __future__ import annotations

import pytest
from tidemill_chassis.settings import SettingsError
from tidemill_gateway.settings import Settings

NEEDED = {"TIDEMILL_SERVING": "127.0.0.1:8500", "TIDEMILL_STORE": "file:///srv/store"}


def test_two_addresses_are_enough() -> None:
    settings = Settings.from_env(NEEDED)

    assert (settings.bind.host, settings.bind.port) == ("127.0.0.1", 8501)


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_address_is_named_with_an_example(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}=.+"):
        Settings.from_env({key: value for key, value in NEEDED.items() if key != name})


def test_limits_are_settings() -> None:
    settings = Settings.from_env({**NEEDED, "TIDEMILL_GATEWAY_BODY_BYTES_MAX": "1MiB"})

    assert settings.http.body_bytes_max == 2**20
