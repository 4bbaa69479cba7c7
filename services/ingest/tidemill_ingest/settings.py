"""Ingest's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidemill_chassis.settings import Address, Environment, SettingsError
from tidemill_contracts.events import SAMPLES_PER_MESSAGE_MAX

from tidemill_ingest.images import PIXELS_MAX
from tidemill_ingest.preparing import ImageLimits

MIB = 1024 * 1024


@dataclass(frozen=True)
class InboxSettings:
    """How the store's inbox is watched.

    poll_s: between two looks; 0 for none. settle_s: a file must stand unchanged so long before it is taken.
    announced: Cloud Storage tells of files on the topic `files`.
    """

    store: str
    poll_s: float
    settle_s: float
    announced: bool


@dataclass(frozen=True)
class Settings:
    """inbox: None when it is not watched. keys: a file of keys; None: everybody may publish."""

    bind: Address
    bus: str
    models: Path
    body_bytes_max: int
    images: ImageLimits
    samples_per_message: int
    inbox: InboxSettings | None
    keys: Path | None
    log_level: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Settings from variables.

        Raises:
            SettingsError: a variable is missing or wrong.
        """
        env = Environment(environ)
        return cls(
            bind=env.address("TIDEMILL_INGEST_BIND", "127.0.0.1:8080"),
            bus=env.text("TIDEMILL_BUS", example="redis://127.0.0.1:6379/0"),
            models=env.path("TIDEMILL_MODELS", "models"),
            body_bytes_max=env.size_bytes("TIDEMILL_INGEST_BODY_BYTES_MAX", 32 * MIB),
            images=ImageLimits(
                size_bytes_max=env.size_bytes("TIDEMILL_INGEST_IMAGE_BYTES_MAX", 16 * MIB),
                pixels_max=env.integer(
                    "TIDEMILL_INGEST_PIXELS_MAX", PIXELS_MAX, minimum=1, maximum=PIXELS_MAX
                ),
            ),
            samples_per_message=env.integer(
                "TIDEMILL_INGEST_SAMPLES_PER_MESSAGE", 500, minimum=1, maximum=SAMPLES_PER_MESSAGE_MAX
            ),
            inbox=_inbox(env),
            keys=env.path("TIDEMILL_INGEST_KEYS", "") if env.text("TIDEMILL_INGEST_KEYS", "") else None,
            log_level=env.text("TIDEMILL_LOG_LEVEL", "info"),
        )


def _inbox(env: Environment) -> InboxSettings | None:
    poll_s = env.seconds("TIDEMILL_INGEST_INBOX_POLL_S", 1.0)
    announced = env.flag("TIDEMILL_INGEST_INBOX_ANNOUNCED", False)
    if poll_s == 0 and not announced:
        return None
    store = env.text("TIDEMILL_STORE", example="file:///var/lib/tidemill/store")
    if announced and not store.startswith("gs:"):
        name = "TIDEMILL_INGEST_INBOX_ANNOUNCED"
        raise SettingsError(
            f"{name} is for files in Cloud Storage, which announces them: TIDEMILL_STORE is {store!r}; "
            f"leave {name} out and set TIDEMILL_INGEST_INBOX_POLL_S=1",
            field=name,
        )
    return InboxSettings(
        store=store,
        poll_s=poll_s,
        settle_s=env.seconds("TIDEMILL_INGEST_INBOX_SETTLE_S", 2.0),
        announced=announced,
    )
