"""Starts the gateway: the only place that names a concrete adapter."""

from __future__ import annotations

import os
import sys

from tidemill_chassis import gunicorn_server, logs, memory
from tidemill_chassis.adapters import open_bus, open_store
from tidemill_chassis.settings import SettingsError

from tidemill_gateway.access import Access, read_keys
from tidemill_gateway.app import Gateway
from tidemill_gateway.rate_limits import RateLimits
from tidemill_gateway.request_traces import RequestTraces
from tidemill_gateway.settings import Settings

WORKER = "tidemill_gateway.server.worker.LoopWorker"


def main() -> int:
    """Serve until SIGTERM."""
    try:
        settings = Settings.from_env(os.environ)
        logs.configure("gateway", settings.log_level)
        keys = read_keys(settings.keys) if settings.keys is not None else ()
        rates = {key.name: key.per_s for key in keys if key.per_s is not None}
        if rates and not settings.cache:
            raise SettingsError("TIDEMILL_CACHE is not set, and keys have rates: redis://127.0.0.1:6379/0")
    except (SettingsError, ValueError) as error:
        print(f"tidemill-gateway: {error}", file=sys.stderr)  # noqa: T201  (logs are not set up yet)
        return 2

    def make_gateway() -> Gateway:
        bus = open_bus(settings.bus) if settings.log_percent else None
        limits = RateLimits(settings.cache, rates) if rates else None
        return Gateway(
            settings, open_store(settings.store), bus, Access(keys), limits, _open_traces(settings)
        )

    memory.keep_freed()  # a request of 32 images took 44 page faults, of 3 µs each
    tls = settings.tls
    options = {} if tls is None else {"certfile": str(tls.certificate), "keyfile": str(tls.key)}
    gunicorn_server.serve(make_gateway, bind=settings.bind, worker_class=WORKER, options=options)
    return 0


def _open_traces(settings: Settings) -> RequestTraces | None:
    """Imported only where it is asked for: it takes time and memory, and belongs to an extra."""
    if not settings.traces:
        return None
    from tidemill_gateway.tracing import Tracing

    return Tracing(settings.traces, settings.traces_percent)


if __name__ == "__main__":
    sys.exit(main())
