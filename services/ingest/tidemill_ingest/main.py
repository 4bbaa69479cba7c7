"""Starts ingest under gunicorn. The only place that names its adapters."""

from __future__ import annotations

import os
import sys
import threading
import time
from functools import partial
from urllib.parse import urlsplit

from flask import Flask
from tidemill_chassis import gunicorn_server, logs, memory
from tidemill_chassis.adapters import open_bus, open_store
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.bus import Bus
from tidemill_contracts.errors import TidemillError
from tidemill_contracts.model_spec import load_specs

from tidemill_ingest.announcements import listen
from tidemill_ingest.app import create_app, make_intake
from tidemill_ingest.handlers import Intake
from tidemill_ingest.inbox import Inbox
from tidemill_ingest.keys import read_keys
from tidemill_ingest.poller import watch
from tidemill_ingest.settings import InboxSettings, Settings

THREADS = 16


def main() -> int:
    """Serve until SIGTERM. Exit code 2: the settings or the models are wrong."""
    try:
        settings = Settings.from_env(os.environ)
        logs.configure("ingest", settings.log_level)
        load_specs(settings.models)
        if settings.keys is not None:
            read_keys(settings.keys)
    except (TidemillError, ValueError) as error:
        print(f"tidemill-ingest: {error}", file=sys.stderr)  # noqa: T201  (logs are not there yet)
        return 2
    memory.keep_freed()
    gunicorn_server.serve(lambda: make_app(settings), bind=settings.bind, threads=THREADS)
    return 0


def make_app(settings: Settings) -> Flask:
    """The application with its bus, and the thread that watches the inbox."""
    bus = open_bus(settings.bus)
    intake = make_intake(settings, bus)
    if settings.inbox is not None:
        start_watching(settings, settings.inbox, intake, bus)
    logs.get_logger(__name__).info("started", bind=str(settings.bind))
    return create_app(settings, bus, intake)


def start_watching(settings: Settings, inbox: InboxSettings, intake: Intake, bus: Bus) -> None:
    """Start the threads that look into the inbox and hear of files, as the settings say."""

    def open_inbox() -> Inbox:
        return Inbox(
            open_store(inbox.store),
            intake,
            settle_s=inbox.settle_s,
            size_bytes_max=settings.images.size_bytes_max,
            clock=time.monotonic,
        )

    # Daemons: they die with the process, which at any moment loses nothing (see Inbox).
    if inbox.poll_s:
        look = partial(watch, open_inbox, poll_s=inbox.poll_s, stop=Stop())
        threading.Thread(target=look, name="inbox", daemon=True).start()
    if inbox.announced:
        hear = partial(listen, bus, open_inbox, urlsplit(inbox.store).netloc, Stop())
        threading.Thread(target=hear, name="announcements", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
