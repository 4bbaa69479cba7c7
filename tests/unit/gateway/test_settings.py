"""Settings are right, or said to be wrong with a valid example."""

from __future__ import annotations

import sys

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


def test_a_cache_needs_a_redis() -> None:
    with pytest.raises(SettingsError, match="TIDEMILL_CACHE=redis"):
        Settings.from_env({**NEEDED, "TIDEMILL_GATEWAY_CACHE_S": "60"})

    assert Settings.from_env(NEEDED).answers.seconds == 0


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.exporter"])
def test_traces_without_opentelemetry_say_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)  # as Python marks what cannot be imported

    with pytest.raises(SettingsError, match=r"pip install 'tidemill-gateway\[otel\]'"):
        Settings.from_env({**NEEDED, "TIDEMILL_GATEWAY_TRACES": "http://127.0.0.1:4318"})


def test_where_traces_go_must_be_an_address() -> None:
    with pytest.raises(SettingsError, match="must be such as http"):
        Settings.from_env({**NEEDED, "TIDEMILL_GATEWAY_TRACES": "collector:4317"})
