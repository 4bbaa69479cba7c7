"""Runs a WSGI application under gunicorn, configured in code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gunicorn.app.base import BaseApplication

from tidemill_chassis.settings import Address

DRAIN_S = 20
"""After SIGTERM, how long running requests may still take."""
KEEP_ALIVE_S = 75
HEADER_FIELDS_MAX = 100
THREADS = 8


class _Application(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    def __init__(self, make_app: Callable[[], Any], options: Mapping[str, object]) -> None:
        self._make_app = make_app
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._make_app()


def serve(
    make_app: Callable[[], Any],
    *,
    bind: Address,
    threads: int = THREADS,
    worker_class: str = "gthread",
    options: Mapping[str, object] | None = None,
) -> None:
    """Serve until SIGTERM, then let running requests finish.

    make_app: called in the worker, after the fork, so that no connection is shared with the parent.
    options: further settings of gunicorn, by their names.
    """
    settings: dict[str, object] = {
        "bind": str(bind),
        "workers": 1,
        "threads": threads,
        "worker_class": worker_class,
        "graceful_timeout": DRAIN_S,
        "timeout": 60,
        "keepalive": KEEP_ALIVE_S,
        "limit_request_fields": HEADER_FIELDS_MAX,
        "control_socket_disable": True,
        "worker_tmp_dir": "/dev/shm",  # noqa: S108  (heartbeats belong in memory, not on a disk)
        "loglevel": "warning",
        "proc_name": "tidemill",
        **(options or {}),
    }
    _Application(make_app, settings).run()
