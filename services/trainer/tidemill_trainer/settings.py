"""The trainer's settings, from the environment."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidemill_chassis.push_access import PushSettings
from tidemill_chassis.settings import Address, Environment


@dataclass(frozen=True)
class Settings:
    """Where the trainer finds its neighbours, and how often it looks for what nobody told it.

    models: folder with one YAML per model.
    reconcile_s: seconds between two looks at the whole store.
    lease_s: how long a model stays reserved for a trainer that died.
    push: None when batches' events are pulled.
    work: scratch folder; it also holds what a round needs to go on after a crash.
    launcher: where rounds train, see `launchers.addresses`.
    """

    bus: str
    store: str
    database: str
    models: Path
    health: Address
    reconcile_s: float
    lease_s: float
    work: Path
    push: PushSettings | None
    launcher: str
    log_level: str


def from_env(environ: Mapping[str, str]) -> Settings:
    """Settings from variables.

    Raises:
        SettingsError: one is missing or wrong; the text names it, with a valid example.
    """
    env = Environment(environ)
    return Settings(
        bus=env.text("TIDEMILL_BUS", example="redis://127.0.0.1:6379/0"),
        store=env.text("TIDEMILL_STORE", example="file:///var/lib/tidemill/store"),
        database=env.text("TIDEMILL_DATABASE", example="sqlite:////var/lib/tidemill/registry.db"),
        models=env.path("TIDEMILL_MODELS", "models"),
        health=env.address("TIDEMILL_TRAINER_HEALTH", "127.0.0.1:8403"),
        reconcile_s=env.seconds("TIDEMILL_TRAINER_RECONCILE_S", 30.0, minimum=0.1),
        lease_s=env.seconds("TIDEMILL_TRAINER_LEASE_S", 15.0, minimum=0.5, maximum=3600.0),
        work=env.path("TIDEMILL_TRAINER_WORK", f"{tempfile.gettempdir()}/tidemill-trainer"),
        push=PushSettings.from_env(env, "TIDEMILL_TRAINER_PUSH_BIND"),
        launcher=env.text("TIDEMILL_TRAINER_LAUNCHER", "here"),
        log_level=env.text("TIDEMILL_LOG_LEVEL", "info"),
    )
