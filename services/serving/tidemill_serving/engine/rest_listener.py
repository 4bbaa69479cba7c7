"""The sockets of the REST API: bounded connections, and an end that resets none of them."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tidemill_chassis.logs import get_logger

log = get_logger(__name__)

CONNECTIONS_MAX = 512
"""Open connections; a further one waits in the listen queue until one closes."""

IDLE_DRAIN_S_MAX = 1.0
SO_ATTACH_FILTER = 26
BPF_RETURN = 0x06


class RestListener(ThreadingHTTPServer):
    """Takes connections in, a thread each, and knows which are busy; at the end it lets them finish."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.draining = False
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._busy = 0
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._slots.acquire()
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changed:
                self._open.discard(request)
                self._changed.notify_all()
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's fault; anything else is ours."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            log.error("connection_broke", error=error)

    def take_in_the_rest(self) -> None:
        """Accept what the kernel accepted for us already; closing the listener would reset those connections.

        A filter that drops every packet keeps new ones from coming while the last are taken in; their first
        packet is sent again a second later and finds nobody listening. Closing leaves connections alone.
        """
        drop_all = struct.pack("HBBI", BPF_RETURN, 0, 0, 0)
        instruction = ctypes.create_string_buffer(drop_all)
        program = struct.pack("HL", 1, ctypes.addressof(instruction))
        with suppress(OSError):  # a kernel without such filters: the last few may be reset
            self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        self.socket.setblocking(False)
        for _ in range(self.request_queue_size):
            try:
                request, address = self.socket.accept()
            except OSError:
                return
            request.setblocking(True)
            self.process_request(request, address)

    def begin(self) -> None:
        with self._changed:
            self._busy += 1

    def end(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def drained(self, seconds: float) -> bool:
        """Wait until no request is under way, then close what idles; say whether it came to that.

        A client that goes on asking is told with its next answer to connect elsewhere; so every connection
        gets a moment to bring one more request.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._open, IDLE_DRAIN_S_MAX)
            done = self._changed.wait_for(lambda: self._busy == 0, seconds)
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            return done
