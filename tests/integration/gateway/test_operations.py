"""Keys at the door, and the sample of predictions on a real bus."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from tidemill_chassis.adapters import open_bus
from tidemill_contracts.envelope import from_message
from tidemill_contracts.events import PredictionAnswered
from tidemill_gateway.wire import methods, predict_pb2, tensor_pb2

from tests.emulators.gateway_process import GatewayProcess, image, wait_until
from tests.emulators.machine import free_port

ONE = {"instances": [image(1.0)]}


@pytest.fixture
def keys(tmp_path: Path) -> str:
    file = tmp_path / "keys"
    pairs = (("reader", "predict", "secret-1"), ("chief", "operate", "secret-2"))
    lines = [f"{name} {role} {hashlib.sha256(key.encode()).hexdigest()}" for name, role, key in pairs]
    file.write_text("\n".join(lines))
    return str(file)


def test_without_a_key_only_probes_are_answered(
    start_gateway: Callable[..., GatewayProcess], set_labels: Callable[..., None], keys: str
) -> None:
    set_labels(stable=1)
    port = free_port()
    gateway = start_gateway(TIDEMILL_GATEWAY_KEYS=keys, TIDEMILL_GATEWAY_GRPC_BIND=f"127.0.0.1:{port}")
    reader, chief = {"Authorization": "Bearer secret-1"}, {"X-API-Key": "secret-2"}

    refused = gateway.predict(ONE)
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "secret" not in refused.body.decode()
    assert gateway.ask("GET", "/v1/models").status == 401
    assert gateway.predict(ONE, **{"X-API-Key": "wrong"}).status == 401
    assert gateway.ask("GET", "/healthz").status == 200
    assert gateway.predict(ONE, **reader).status == 200
    assert gateway.ask("PUT", "/v1/models/digits/rollout", {}, reader).status == 403
    assert gateway.ask("PUT", "/v1/models/digits/rollout", {}, chief).status == 200
    (change,) = gateway.ask("GET", "/v1/models/digits/audit", None, reader).json["changes"]
    assert change["by"] == "chief"
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for method in (methods.PREDICT, methods.GET_MODEL_STATUS):
            with pytest.raises(grpc.RpcError) as nobody:
                channel.unary_unary(method)(b"", timeout=5)
            assert nobody.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_key_with_a_rate_is_told_when_to_come_back_on_every_gateway(
    start_gateway: Callable[..., GatewayProcess],
    set_labels: Callable[..., None],
    tmp_path: Path,
    redis_url: str,
) -> None:
    set_labels(stable=1)
    file = tmp_path / "keys"
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("slow", "free")}
    file.write_text(f"slow predict {digests['slow']} 2/s\nfree predict {digests['free']}\n")
    settings = {"TIDEMILL_GATEWAY_KEYS": str(file), "TIDEMILL_CACHE": redis_url}
    gateways = [start_gateway(**settings) for _ in range(2)]

    slow = [gateways[number % 2].predict(ONE, **{"X-API-Key": "slow"}) for number in range(8)]
    free = [gateways[number % 2].predict(ONE, **{"X-API-Key": "free"}).status for number in range(8)]

    refused = [answer for answer in slow if answer.status == 429]
    assert [answer.status for answer in slow[:2]] == [200, 200]
    assert len(refused) >= 4
    assert refused[0].headers["retry-after"] == "1"
    assert "slow may ask 2 times a second" in refused[0].json["error"]
    assert free == [200] * 8


def test_while_redis_is_stopped_nobody_is_counted(
    start_gateway: Callable[..., GatewayProcess], set_labels: Callable[..., None], tmp_path: Path
) -> None:
    set_labels(stable=1)
    file = tmp_path / "keys"
    file.write_text(f"slow predict {hashlib.sha256(b'slow').hexdigest()} 1/s\n")
    cache = f"redis://127.0.0.1:{free_port()}/0"
    gateway = start_gateway(TIDEMILL_GATEWAY_KEYS=str(file), TIDEMILL_CACHE=cache)

    assert [gateway.predict(ONE, **{"X-API-Key": "slow"}).status for _ in range(5)] == [200] * 5
    assert gateway.metric("tidemill_gateway_rate_uncounted_total") == 5


def test_sampled_predictions_reach_the_topic(
    start_gateway: Callable[..., GatewayProcess], set_labels: Callable[..., None], redis_url: str
) -> None:
    set_labels(stable=1)
    gateway = start_gateway(TIDEMILL_BUS=redis_url, TIDEMILL_GATEWAY_LOG_PERCENT="100")

    for value in range(5):
        gateway.predict({"instances": [image(float(value))]})

    subscription = open_bus(redis_url).subscribe("predictions", "test")
    seen: list[PredictionAnswered] = []

    def pulled() -> bool:
        deliveries = subscription.pull(10, 0.2)
        seen.extend(from_message(delivery.message, PredictionAnswered) for delivery in deliveries)
        return len(seen) == 5

    wait_until(pulled, "every prediction is on the bus")
    assert {entry.version for entry in seen} == {1}
    assert sorted(entry.response["predictions"][0][1] for entry in seen if entry.response) == [
        0.0,
        1.0,
        2.0,
        3.0,
        4.0,
    ]


def test_predictions_over_grpc_reach_the_topic_as_json(
    start_gateway: Callable[..., GatewayProcess], set_labels: Callable[..., None], redis_url: str
) -> None:
    set_labels(stable=1)
    port = free_port()
    start_gateway(
        TIDEMILL_BUS=redis_url,
        TIDEMILL_GATEWAY_LOG_PERCENT="100",
        TIDEMILL_GATEWAY_GRPC_BIND=f"127.0.0.1:{port}",
    )
    shape = tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=2)])
    request = predict_pb2.PredictRequest(
        model_spec=predict_pb2.ModelSpec(name="digits", signature_name="encoded"),
        inputs={
            "bytes": tensor_pb2.TensorProto(
                dtype=tensor_pb2.DT_STRING, tensor_shape=shape, string_val=[b"abc", b"\xff\xff"]
            )
        },
    )

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        channel.unary_unary(methods.PREDICT)(request.SerializeToString(), timeout=10)

    subscription = open_bus(redis_url).subscribe("predictions", "test")
    seen: list[PredictionAnswered] = []

    def pulled() -> bool:
        deliveries = subscription.pull(10, 0.2)
        seen.extend(from_message(delivery.message, PredictionAnswered) for delivery in deliveries)
        return len(seen) == 1

    wait_until(pulled, "the prediction is on the bus")
    assert seen[0].request == {"inputs": {"bytes": ["abc", {"b64": "//8="}]}, "signature_name": "encoded"}
    assert seen[0].response is not None
    assert [row[1] for row in seen[0].response["outputs"]["probabilities"]] == [3.0, 2.0]
    assert (seen[0].dialect, seen[0].version) == ("grpc", 1)


def test_a_stopped_bus_is_not_felt_by_clients(
    start_gateway: Callable[..., GatewayProcess], set_labels: Callable[..., None]
) -> None:
    set_labels(stable=1)
    gateway = start_gateway(
        TIDEMILL_BUS=f"redis://127.0.0.1:{free_port()}/0", TIDEMILL_GATEWAY_LOG_PERCENT="100"
    )

    assert [gateway.predict(ONE).status for _ in range(20)] == [200] * 20
