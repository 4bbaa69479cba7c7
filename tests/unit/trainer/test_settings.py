"""Settings: what is missing is named, with an example."""

from __future__ import annotations

import pytest
from tidemill_chassis.settings import Address, SettingsError
from tidemill_trainer.settings import from_env

ENVIRON = {
    "TIDEMILL_BUS": "memory://",
    "TIDEMILL_STORE": "memory://",
    "TIDEMILL_DATABASE": "sqlite:////data/registry.db",
}


@pytest.mark.parametrize("missing", sorted(ENVIRON))
def test_an_address_that_is_missing_is_named(missing: str) -> None:
    environ = {name: value for name, value in ENVIRON.items() if name != missing}

    with pytest.raises(SettingsError, match=f"{missing} is not set.*example"):
        from_env(environ)


def test_what_has_a_right_value_in_production_needs_not_be_set() -> None:
    settings = from_env(ENVIRON)

    assert settings.reconcile_s == 30
    assert settings.health == Address("127.0.0.1", 8403)


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(SettingsError, match="TIDEMILL_TRAINER_RECONCILE_S"):
        from_env({**ENVIRON, "TIDEMILL_TRAINER_RECONCILE_S": "0"})
