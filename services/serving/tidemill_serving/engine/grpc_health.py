"""grpc.health.v1.Health: asked, or watched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from tidemill_chassis.rpc.codes import CallFailed, Code
from tidemill_chassis.rpc.serving_side import Call

SERVICES = ("", "ModelService", "PredictionService")
WATCHERS_MAX = 1_024
"""Calls that may watch at once."""

_Status = health_pb2.HealthCheckResponse


class Health:
    """The same for every service: until `say` is told otherwise, none serves."""

    CHECK = "/grpc.health.v1.Health/Check"
    WATCH = "/grpc.health.v1.Health/Watch"

    def __init__(self) -> None:
        self._status = _Status.NOT_SERVING
        self._watchers: list[tuple[Call, Callable[[Call, bytes], None]]] = []
        self._lock = threading.Lock()

    def handlers(self) -> Mapping[str, Callable[[Call], bytes]]:
        """By the method's full name."""
        return {self.CHECK: self._check}

    def say(self, *, serving: bool) -> None:
        """From now on; who watches is told."""
        with self._lock:
            self._status = _Status.SERVING if serving else _Status.NOT_SERVING
            self._watchers = [each for each in self._watchers if each[0].active]
            for call, push in self._watchers:
                if _service(call) in SERVICES:
                    push(call, self._told(call))

    def watch(self, call: Call, push: Callable[[Call, bytes], None]) -> None:
        """Tell the caller how it is, now and whenever it changes.

        Raises:
            CallFailed: too many watch, or the request cannot be read.
        """
        _service(call)
        with self._lock:
            self._watchers = [each for each in self._watchers if each[0].active]
            if len(self._watchers) >= WATCHERS_MAX:
                raise CallFailed(Code.RESOURCE_EXHAUSTED, f"{WATCHERS_MAX} watch already")
            self._watchers.append((call, push))
            push(call, self._told(call))

    def _check(self, call: Call) -> bytes:
        if _service(call) not in SERVICES:
            raise CallFailed(Code.NOT_FOUND, "")
        return self._told(call)

    def _told(self, call: Call) -> bytes:
        known = _service(call) in SERVICES
        told: bytes = _Status(status=self._status if known else _Status.SERVICE_UNKNOWN).SerializeToString()
        return told


def _service(call: Call) -> str:
    try:
        return str(health_pb2.HealthCheckRequest.FromString(call.message).service)
    except DecodeError as error:
        raise CallFailed(Code.INTERNAL, "the request is no HealthCheckRequest") from error
