"""The persistor's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tidemill_chassis.push import WAIT_S_MAX
from tidemill_chassis.push_access import PushSettings
from tidemill_chassis.settings import Address, Environment, SettingsError
from tidemill_contracts.stored_batch import CODECS, Codec

from tidemill_persistor.batching import BatchLimits, HandLimits

AGE_S_MIN = 0.1
AGE_S_LIMIT = 86_400.0
"""A bus keeps what is not acknowledged for a week at most; a batch must never come near that."""
PUSHED_AGE_S_MAX = WAIT_S_MAX / 2
"""The other half of a push request's time is for writing."""
MIB = 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """push: None when messages are pulled."""

    bus: str
    store: str
    health: Address
    batch: BatchLimits
    hand: HandLimits
    lease_s: float
    codec: Codec
    push: PushSettings | None
    log_level: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Settings from variables.

        Raises:
            SettingsError: a variable is missing or wrong, or two of them would stop the flow.
        """
        env = Environment(environ)
        settings = cls(
            bus=env.text("TIDEMILL_BUS", example="redis://127.0.0.1:6379/0"),
            store=env.text("TIDEMILL_STORE", example="file:///var/lib/tidemill/store"),
            health=env.address("TIDEMILL_PERSISTOR_HEALTH", "127.0.0.1:8081"),
            batch=BatchLimits(
                messages_max=env.integer("TIDEMILL_PERSISTOR_BATCH_MESSAGES", 5000, minimum=1),
                size_bytes_max=env.size_bytes("TIDEMILL_PERSISTOR_BATCH_BYTES", 8 * MIB),
                age_s_max=env.seconds(
                    "TIDEMILL_PERSISTOR_BATCH_AGE_S", 1.0, minimum=AGE_S_MIN, maximum=AGE_S_LIMIT
                ),
            ),
            hand=HandLimits(
                messages_max=env.integer("TIDEMILL_PERSISTOR_HELD_MESSAGES", 20_000, minimum=1),
                size_bytes_max=env.size_bytes("TIDEMILL_PERSISTOR_HELD_BYTES", 32 * MIB),
            ),
            lease_s=env.seconds("TIDEMILL_PERSISTOR_LEASE_S", 30.0, minimum=1.0, maximum=600.0),
            codec=_codec(env.text("TIDEMILL_PERSISTOR_CODEC", "deflate")),
            push=PushSettings.from_env(env, "TIDEMILL_PERSISTOR_PUSH_BIND"),
            log_level=env.text("TIDEMILL_LOG_LEVEL", "info"),
        )
        _check_fits(settings.batch, settings.hand)
        if settings.push is not None:
            _check_answers(settings.batch)
        return settings


def _codec(text: str) -> Codec:
    for codec in CODECS:
        if codec == text:
            return codec
    name = "TIDEMILL_PERSISTOR_CODEC"
    raise SettingsError(f"{name} must be one of {', '.join(CODECS)}, not {text!r}", field=name)


def _check_fits(batch: BatchLimits, hand: HandLimits) -> None:
    """A batch larger than the hand could never be full: it would be written early, always, without a word."""
    pairs = (
        ("MESSAGES", batch.messages_max, hand.messages_max),
        ("BYTES", batch.size_bytes_max, hand.size_bytes_max),
    )
    for what, of_batch, of_hand in pairs:
        if of_batch > of_hand:
            name = f"TIDEMILL_PERSISTOR_BATCH_{what}"
            raise SettingsError(
                f"{name} is {of_batch}, but TIDEMILL_PERSISTOR_HELD_{what} lets only {of_hand} be held: such "
                f"a batch is never full; set for example {name}={of_hand}",
                field=name,
            )


def _check_answers(batch: BatchLimits) -> None:
    """A push request is answered once its message is stored: an older batch is answered 503 for ever."""
    if batch.age_s_max > PUSHED_AGE_S_MAX:
        name = "TIDEMILL_PERSISTOR_BATCH_AGE_S"
        raise SettingsError(
            f"{name} is {batch.age_s_max:g}, but a pushed message must be stored within {WAIT_S_MAX:g} s, or "
            f"it comes again, and never is: set at most {name}={PUSHED_AGE_S_MAX:g}",
            field=name,
        )
