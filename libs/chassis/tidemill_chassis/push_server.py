"""The HTTP side of push delivery: whoever brings Google's token may hand in a message."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

from tidemill_contracts.errors import TidemillError

from tidemill_chassis.health import HealthHandler, HealthServer
from tidemill_chassis.logs import get_logger
from tidemill_chassis.push import Receive, parse_push
from tidemill_chassis.push_access import Refused, Verify
from tidemill_chassis.settings import Address
from tidemill_chassis.web import status_of

log = get_logger(__name__)

PATH = "/push"
BODY_BYTES_MAX = 15_000_000
"""Pub/Sub's largest message, 10 MB, in Base64 with its attributes."""
REQUEST_TIMEOUT_S = 30.0
CONNECTIONS_MAX = 256
"""Open at once; further ones are closed at once, and Pub/Sub comes again. Cloud Run's own limit is 80."""


class PushServer(HealthServer):
    """Answers POST /push beside health: 204 after `receive` returned, else a status that brings it again.

    The token is verified before the body is read.
    """

    def __init__(
        self,
        address: Address,
        ready: Callable[[], None],
        *,
        receive: Receive,
        verify: Verify,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        ports = {"receive": staticmethod(receive), "verify": staticmethod(verify)}
        super().__init__(address, ready, type("Push", (_PushHandler,), ports))
        _limit_connections(self._server, connections_max)


def _limit_connections(server: Any, connections_max: int) -> None:
    slots = threading.BoundedSemaphore(connections_max)
    start, run, close = server.process_request, server.process_request_thread, server.shutdown_request

    def process_request(request: socket.socket, address: object) -> None:
        if not slots.acquire(blocking=False):
            close(request)
            return
        try:
            start(request, address)
        except BaseException:
            slots.release()
            raise

    def process_request_thread(request: socket.socket, address: object) -> None:
        try:
            run(request, address)
        finally:
            slots.release()

    server.process_request, server.process_request_thread = process_request, process_request_thread


class _PushHandler(HealthHandler):
    protocol_version = "HTTP/1.1"
    timeout = REQUEST_TIMEOUT_S
    receive: Receive
    verify: Verify

    def do_POST(self) -> None:
        if self.path != PATH:
            self._refuse(404, f"messages are pushed to {PATH}")
            return
        size_bytes = self._body_bytes()
        if size_bytes is None or not self._is_let_in():
            return
        body = self.rfile.read(size_bytes)
        if len(body) < size_bytes:
            self.close_connection = True
            return
        try:
            self.receive(parse_push(body))
        except TidemillError as error:
            log.warning("push_refused", error=error)
            self._say(status_of(error), str(error))
        except Exception as error:  # noqa: BLE001  (one broken message must not stop the others)
            log.error("push_failed", error=error)
            self._say(500, "something went wrong here; the log says what")
        else:
            self.send_response(204)
            self.end_headers()

    def _body_bytes(self) -> int | None:
        """The length that the request declares; None after it was refused for that."""
        text = self.headers.get("Content-Length", "")
        if not (text.isascii() and text.isdigit()):
            self._refuse(411, "say the body's length in Content-Length")
        elif int(text) > BODY_BYTES_MAX:
            self._refuse(413, f"the body is over {BODY_BYTES_MAX} bytes")
        else:
            return int(text)
        return None

    def _is_let_in(self) -> bool:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        try:
            if scheme.lower() != "bearer" or not token:
                raise Refused("there is no bearer token: give the push subscription a service account")
            self.verify(token.strip())
        except Refused as error:
            log.warning("token_refused", reason=str(error))
            self._refuse(401, str(error))
        except TidemillError as error:
            log.warning("token_not_verified", error=error)
            self._refuse(status_of(error), str(error))
        else:
            return True
        return False

    def _refuse(self, status: int, message: str) -> None:
        """Answer without having read the body: the connection ends, for the body still stands in it."""
        self.close_connection = True
        self._say(status, message)

    def _say(self, status: int, message: str) -> None:
        self.answer(status, json.dumps({"error": {"message": message}}).encode())
