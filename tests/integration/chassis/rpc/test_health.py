"""The engine's health, asked and watched by gRPC's own stub."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tidemill_chassis.rpc.serving_side import Call
from tidemill_chassis.rpc.threads_server import ThreadsServer
from tidemill_serving.engine.grpc_health import Health

from tests.integration.chassis.rpc.sockets import PATIENCE_S, eventually, grpc_channel

Status = health_pb2.HealthCheckResponse


@pytest.fixture
def health() -> Health:
    return Health()


def serving(health: Health, path: str) -> ThreadsServer:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)

    def watch(call: Call) -> None:
        health.watch(call, server.push)

    server = ThreadsServer(
        health.handlers(), {Health.WATCH: watch}, at_once=2, most=4, message_bytes_max=1000
    )
    server.listen(listener)
    server.start()
    return server


@pytest.fixture
def stub(tmp_path, health) -> Iterator[health_pb2_grpc.HealthStub]:
    path = str(tmp_path / "health.sock")
    server = serving(health, path)
    with grpc_channel(path) as channel:
        yield health_pb2_grpc.HealthStub(channel)
    server.close(0.0)


def asked(service: str = "") -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_each_service_is_as_it_was_said(stub, health, service):
    before = stub.Check(asked(service), timeout=PATIENCE_S).status
    health.say(serving=True)
    after = stub.Check(asked(service), timeout=PATIENCE_S).status

    assert (before, after) == (Status.NOT_SERVING, Status.SERVING)


def test_a_service_that_there_is_not_is_not_found(stub):
    with pytest.raises(grpc.RpcError) as failed:
        stub.Check(asked("Moon"), timeout=PATIENCE_S)

    assert failed.value.code() == grpc.StatusCode.NOT_FOUND
    assert next(stub.Watch(asked("Moon"), timeout=PATIENCE_S)).status == Status.SERVICE_UNKNOWN


def test_who_watches_is_told_of_each_change_until_he_goes(stub, health):
    watch = stub.Watch(asked(), timeout=PATIENCE_S)
    seen = [next(watch).status]

    for serving in (True, False, True):
        health.say(serving=serving)
        seen.append(next(watch).status)
    (call, _) = health._watchers[0]
    watch.cancel()

    assert seen == [Status.NOT_SERVING, Status.SERVING, Status.NOT_SERVING, Status.SERVING]
    eventually(lambda: not call.active)
    health.say(serving=False)
    assert not health._watchers


def test_the_end_does_not_wait_for_who_watches(tmp_path, health):
    path = str(tmp_path / "end.sock")
    server = serving(health, path)
    with grpc_channel(path) as channel:
        watched = health_pb2_grpc.HealthStub(channel).Watch(asked(), timeout=PATIENCE_S)
        next(watched)

        server.close(10 * PATIENCE_S)

        with pytest.raises(grpc.RpcError) as failed:
            next(watched)
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
