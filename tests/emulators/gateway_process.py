"""A gateway started as a person would start it, and a client that sees every byte of its answers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.emulators.machine import free_port

WAIT_S = 60.0
STOP_S_MAX = 30.0
POLL_S = 0.02


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Return once the condition holds.

    Raises:
        AssertionError: it did not hold in time.
    """
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            raise AssertionError(f"still waiting after {timeout_s} s: {what}")
        time.sleep(POLL_S)


def image(value: float) -> list[Any]:
    """A 28×28×1 instance whose sum is `value`."""
    rows = [[[0.0] for _ in range(28)] for _ in range(28)]
    rows[0][0][0] = value
    return rows


@dataclass
class Answered:
    """A response as a client sees it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class GatewayProcess:
    """A gateway that was started as a person would start it."""

    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, *, serving: str, store: str, **further: str) -> GatewayProcess:
        """Start one on a free port. further: variables of its environment."""
        port = free_port()
        settings = {
            "TIDEMILL_GATEWAY_NOTICE_S": "0.05",
            "TIDEMILL_GATEWAY_BIND": f"127.0.0.1:{port}",
            "TIDEMILL_SERVING": serving,
            "TIDEMILL_STORE": store,
            **further,
        }
        command = [sys.executable, "-m", "tidemill_gateway.main"]
        return cls(port, subprocess.Popen(command, env={**os.environ, **settings}))

    def stop(self) -> int:
        """Ask it to end and wait; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answered:
        connection = self.connect()
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answered(response.status, found, response.read())
        finally:
            connection.close()

    def predict(self, body: Any, path: str = "/v1/models/digits", **headers: str) -> Answered:
        return self.ask("POST", f"{path}:predict", body, headers)

    def raw(self, data: bytes, timeout_s: float = WAIT_S) -> bytes:
        """Send bytes as they are; everything that comes until the gateway closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            connection.sendall(data)
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        return received

    def raw_until_quiet(self, data: bytes) -> bytes:
        """Send bytes as they are and no more; everything that comes until the gateway closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while chunk := connection.recv(65536):
                    received += chunk
        return received

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 where it was never counted."""
        lines = self.ask("GET", "/metrics").body.decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}(\{{| )", line))

    def stable_version(self, model: str = "digits") -> int | None:
        """Which version answers for `stable`."""
        found = self.ask("GET", f"/v1/models/{model}/versions").json.get("stable")
        return None if found is None else int(found)

    def is_ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz").status == 200
        except OSError:
            return False
