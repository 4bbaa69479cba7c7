"""Settings that cannot work are refused at start."""

from __future__ import annotations

import pytest
from tidemill_chassis.settings import SettingsError
from tidemill_persistor.settings import Settings

GOOD = {"TIDEMILL_BUS": "memory://", "TIDEMILL_STORE": "memory://"}


def test_defaults_need_only_the_addresses() -> None:
    settings = Settings.from_env(GOOD)

    assert settings.batch.age_s_max == 1.0
    assert settings.batch.size_bytes_max <= settings.hand.size_bytes_max


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TIDEMILL_BUS", "", "TIDEMILL_BUS is not set"),
        ("TIDEMILL_STORE", "", "TIDEMILL_STORE is not set"),
        ("TIDEMILL_PERSISTOR_BATCH_AGE_S", "0.01", "between 0.1 and"),
        ("TIDEMILL_PERSISTOR_BATCH_MESSAGES", "0", "between 1 and"),
        ("TIDEMILL_PERSISTOR_BATCH_MESSAGES", "50000", "TIDEMILL_PERSISTOR_HELD_MESSAGES"),
        ("TIDEMILL_PERSISTOR_BATCH_BYTES", "1GiB", "TIDEMILL_PERSISTOR_HELD_BYTES"),
        ("TIDEMILL_PERSISTOR_HELD_BYTES", "1MiB", "never full"),
        ("TIDEMILL_PERSISTOR_PUSH_BIND", "0.0.0.0:8080", "TIDEMILL_PUSH_AUDIENCE is not set"),
        ("TIDEMILL_PERSISTOR_BATCH_AGE_S", "604800", "between 0.1 and 86400"),
        ("TIDEMILL_PERSISTOR_LEASE_S", "0.5", "between 1.0 and 600"),
        ("TIDEMILL_PERSISTOR_LEASE_S", "3600", "between 1.0 and 600"),
        ("TIDEMILL_PERSISTOR_CODEC", "gzip", "deflate, zstandard, null"),
    ],
)
def test_what_would_stop_the_flow_is_refused_with_the_reason(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_env({**GOOD, name: value})


PUSHED = {
    **GOOD,
    "TIDEMILL_PERSISTOR_PUSH_BIND": "0.0.0.0:8080",
    "TIDEMILL_PUSH_AUDIENCE": "a",
    "TIDEMILL_PUSH_ACCOUNT": "a",
}


def test_a_batch_that_outlasts_every_push_request_is_refused() -> None:
    with pytest.raises(SettingsError, match="comes again, and never is"):
        Settings.from_env({**PUSHED, "TIDEMILL_PERSISTOR_BATCH_AGE_S": "60"})

    assert Settings.from_env({**PUSHED, "TIDEMILL_PERSISTOR_BATCH_AGE_S": "30"}).push is not None
    assert Settings.from_env({**GOOD, "TIDEMILL_PERSISTOR_BATCH_AGE_S": "60"}).batch.age_s_max == 60.0
