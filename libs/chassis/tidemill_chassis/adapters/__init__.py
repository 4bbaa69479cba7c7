"""Adapters chosen by address. Only a service's main.py opens them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from tidemill_contracts.bus import Bus
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.objects import ObjectStore

from tidemill_chassis.adapters.files import FileStore
from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_chassis.push_access import PushSettings, Verify
from tidemill_chassis.settings import SettingsError


def open_bus(url: str) -> Bus:
    """The bus at an address: ``redis://HOST:PORT/DB``, ``unix://PATH``, ``pubsub://PROJECT`` or ``memory://``.

    Raises:
        SettingsError: no adapter has this scheme, or its packages are not installed.
    """
    scheme = urlsplit(url).scheme
    if scheme in {"redis", "rediss", "unix"}:
        return RedisBus.from_url(url)
    if scheme == "memory":
        return MemoryBus()
    if scheme == "pubsub":
        with _extra_needed():  # imported only here: a process on the embedded default need not carry it
            from tidemill_chassis.adapters.pubsub_bus import PubsubBus
        return PubsubBus.from_url(url)
    raise SettingsError(f"TIDEMILL_BUS must be such as redis://127.0.0.1:6379/0, not {url!r}")


def open_store(url: str) -> ObjectStore:
    """The store at an address: ``file:///FOLDER``, ``gs://BUCKET`` or ``memory://``.

    Raises:
        SettingsError: no adapter has this scheme, or its packages are not installed.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path not in {"", "/"}:
        return FileStore(unquote(parts.path))
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "gs":
        with _extra_needed():
            from tidemill_chassis.adapters.gcs_objects import CloudStore
        return CloudStore.from_url(url)
    raise SettingsError(f"TIDEMILL_STORE must be such as file:///var/lib/tidemill/store, not {url!r}")


def open_token_verifier(settings: PushSettings) -> Verify:
    """What verifies the tokens of push requests, with Google's own keys.

    Raises:
        SettingsError: its packages are not installed.
    """
    with _extra_needed():
        from tidemill_chassis.adapters.google_tokens import GoogleCertificates, TokenVerifier
    return TokenVerifier(
        audience=settings.audience, account=settings.account, certificates=GoogleCertificates()
    )


@contextmanager
def _extra_needed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise SettingsError(
            f"this address needs more packages: pip install 'tidemill-chassis[gcp]' ({error})"
        ) from error
