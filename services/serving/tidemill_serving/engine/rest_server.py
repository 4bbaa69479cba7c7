"""The REST API over HTTP: every request to its answer, counted; drained at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any

from tidemill_chassis.logs import get_logger

from tidemill_serving.engine.core import Core
from tidemill_serving.engine.deadlines import deadline_in
from tidemill_serving.engine.json_output import error_body
from tidemill_serving.engine.metrics import Metrics
from tidemill_serving.engine.rest import Answer, answer, is_ours
from tidemill_serving.engine.rest_bodies import BadBody, read_body
from tidemill_serving.engine.rest_listener import RestListener

log = get_logger(__name__)

IDLE_S_MAX = 75.0
DRAIN_S_MAX = 30.0
_NOT_FOUND = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
)


class RestServer:
    """Serves while the context is open; leaving it lets requests under way end.

    cors: answer browsers of other origins.
    metrics_path: where the metrics lie; None: nowhere.
    timeout_s: how long a request may take from when its body was read; None for ever.

    Raises:
        OSError: on making it, if the address is taken.
    """

    def __init__(
        self,
        core: Core,
        metrics: Metrics,
        *,
        port: int,
        host: str = "0.0.0.0",  # noqa: S104  (as the server listens; containers need it)
        cors: bool = False,
        metrics_path: str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        shared = {
            "core": core,
            "metrics": metrics,
            "cors": cors,
            "metrics_path": metrics_path,
            "timeout_s": timeout_s,
        }
        self._server = RestListener((host, port), type("Handler", (_Handler,), shared))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="rest", daemon=True
        )

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> RestServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.draining = True
        self._server.shutdown()
        self._server.take_in_the_rest()
        self._server.server_close()
        if not self._server.drained(DRAIN_S_MAX):
            log.warning("requests_cut_off", drain_s=DRAIN_S_MAX)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "tidemill-model-server"
    sys_version = ""
    timeout = IDLE_S_MAX
    wbufsize = -1
    disable_nagle_algorithm = True
    core: Core
    metrics: Metrics
    cors: bool
    metrics_path: str | None
    timeout_s: float | None
    server: RestListener

    def handle_any(self) -> None:
        self.server.begin()
        try:
            self._send(self._answer())
        finally:
            self.server.end()

    def __getattr__(self, name: str) -> Any:
        """Every verb comes here; which ones are right is for the API to say."""
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def _answer(self) -> Answer:
        try:
            body = read_body(self.headers, self.rfile)
        except BadBody as error:
            self.close_connection = True
            return Answer(error.status, error_body(str(error)))
        path = self.path.encode("latin-1").decode("utf-8", "surrogateescape")
        if self.metrics_path is not None and path.partition("?")[0] == self.metrics_path:
            return Answer(200, self.metrics.exposition(), "text/plain")
        if not is_ours(path):
            return Answer(404, _NOT_FOUND, "text/html")
        if self.command == "OPTIONS":
            return self._preflight()
        started_s = time.monotonic()
        found = answer(self.core, self.command, path, body, deadline_s=deadline_in(self.timeout_s))
        self.metrics.observe_rest(path, found.status, time.monotonic() - started_s)
        return found

    def _preflight(self) -> Answer:
        origin = self.headers.get("Origin", "")
        if not origin.startswith(("http://", "https://")):
            return Answer(400, error_body("Origin must be an http(s) URL"))
        return Answer(200, b"")

    def _send(self, found: Answer) -> None:
        self.send_response(found.status)
        self.send_header("Content-Type", found.content_type)
        self.send_header("Content-Length", str(len(found.body)))
        for name, value in {**found.headers, **self._cors_headers()}.items():
            self.send_header(name, value)
        if self.server.draining:
            self.close_connection = True
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(found.body)
        self.wfile.flush()

    def _cors_headers(self) -> Mapping[str, str]:
        if not self.cors:
            return {}
        return {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": "POST, GET, OPTIONS",
            "Access-Control-Allow-Headers": "Content-Type",
        }

    def log_message(self, format: str, *args: object) -> None:
        """Metrics count requests; a line each would cost more than the request."""
