"""Health, readiness and metrics over HTTP for processes that serve nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from tidemill_chassis import metrics
from tidemill_chassis.settings import Address

REQUEST_TIMEOUT_S = 5.0


class HealthServer:
    """Answers /healthz, /readyz and /metrics while the context is open.

    ready: returns when the process can do its work; raises with the reason when it cannot.
    handler: what answers; one that answers more than health is made of HealthHandler.

    Raises:
        OSError: on entering, if the address is taken.
    """

    def __init__(
        self, address: Address, ready: Callable[[], None], handler: type[HealthHandler] | None = None
    ) -> None:
        handler = type("Handler", (handler or HealthHandler,), {"ready": staticmethod(ready)})
        self._server = ThreadingHTTPServer((address.host, address.port), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> HealthServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class HealthHandler(BaseHTTPRequestHandler):
    """GET of the three paths. A subclass adds methods of its own."""

    timeout = REQUEST_TIMEOUT_S
    ready: Callable[[], None]

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(200, b'{"status": "alive"}')
        elif self.path == "/readyz":
            status, body = readiness(self.ready)
            self.answer(status, json.dumps(body).encode())
        elif self.path == "/metrics":
            self.answer(200, metrics.exposition(), metrics.CONTENT_TYPE)
        else:
            self.answer(404, b'{"error": "there are /healthz, /readyz and /metrics here"}')

    def answer(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Probes come every second; they are not worth a line each."""


def readiness(ready: Callable[[], None]) -> tuple[int, dict[str, str]]:
    """HTTP status and body of a readiness probe: 503 with the reason when `ready` raises."""
    try:
        ready()
    except Exception as error:  # noqa: BLE001  (whatever is wrong, the probe says so)
        return 503, {"status": "not ready", "reason": str(error) or type(error).__name__}
    return 200, {"status": "ready"}
