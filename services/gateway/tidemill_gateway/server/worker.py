"""gunicorn's worker process around the event loop: gunicorn owns processes and sockets, this the rest."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import ssl
from typing import Any, Protocol

import uvloop
from gunicorn.sock import ssl_context
from gunicorn.workers.base import Worker

from tidemill_gateway.server.http_server import HttpServer
from tidemill_gateway.server.limits import HttpLimits
from tidemill_gateway.server.messages import Request, Response

HEARTBEAT_S = 1.0
GC_THRESHOLDS = (50_000, 50, 50)
"""After start the heap is frozen and collected seldom: a full collection shows in p99."""


class Site(Protocol):
    """What gunicorn's application factory returns for this worker."""

    limits: HttpLimits
    notice_s: float

    async def start(self) -> None:
        """Called in the worker's event loop before the first request."""
        ...

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        ...

    def stopping(self) -> None:
        """The process was asked to end; requests still come for a while."""
        ...

    async def stop(self) -> None:
        """Called after the last request."""
        ...


class LoopWorker(Worker):  # type: ignore[misc]  # gunicorn ships no types
    """Runs one Site on uvloop until SIGTERM (or SIGINT), then drains."""

    def init_signals(self) -> None:
        """Once the event loop runs, it takes the signals that matter; until then they end the process."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGABRT, self.handle_abort)
        for number in (signal.SIGUSR1, signal.SIGWINCH, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def run(self) -> None:
        """Serve until told to stop."""
        uvloop.run(self._serve(self.wsgi))

    async def _serve(self, site: Site) -> None:
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, asked.set)
        await site.start()
        server = HttpServer(site.handle, site.limits)
        tls: ssl.SSLContext | None = ssl_context(self.cfg) if self.cfg.is_ssl else None
        await server.start([_plain(listener) for listener in self.sockets], tls)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        while not asked.is_set() and os.getppid() == self.ppid:
            self.notify()
            try:
                await asyncio.wait_for(asked.wait(), HEARTBEAT_S)
            except TimeoutError:
                continue
        site.stopping()
        heartbeat = loop.create_task(self._beat())
        await server.stop(notice_s=site.notice_s, grace_s=self.cfg.graceful_timeout - 2 * site.notice_s - 1)
        await site.stop()
        heartbeat.cancel()

    async def _beat(self) -> None:
        while True:
            self.notify()
            await asyncio.sleep(HEARTBEAT_S)


def _plain(listener: Any) -> Any:
    """gunicorn wraps its sockets; the event loop wants them bare."""
    return getattr(listener, "sock", listener)
