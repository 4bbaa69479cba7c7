"""TensorFlow Serving's gRPC API at the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.wrappers_pb2 import Int64Value
from tidemill_chassis.adapters import open_store
from tidemill_contracts.manifest import Labels, change_labels
from tidemill_gateway.wire import inference_pb2, methods, model_pb2, predict_pb2, tensor_pb2

from tests.emulators.gateway_process import GatewayProcess, wait_until
from tests.emulators.machine import free_port
from tests.emulators.small_serving import SmallServing, State


def tensor(rows: np.ndarray) -> tensor_pb2.TensorProto:
    dims = [tensor_pb2.TensorShapeProto.Dim(size=size) for size in rows.shape]
    return tensor_pb2.TensorProto(
        dtype=tensor_pb2.DT_FLOAT,
        tensor_shape=tensor_pb2.TensorShapeProto(dim=dims),
        tensor_content=rows.astype(np.float32).tobytes(),
    )


def images(*sums: float) -> np.ndarray:
    rows = np.zeros((len(sums), 28, 28, 1), dtype=np.float32)
    rows[:, 0, 0, 0] = sums
    return rows


class Client:
    """Calls a channel with our stubs."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    def call(self, method: str, request: Any, timeout_s: float = 10.0) -> tuple[bytes, dict[str, str]]:
        reply, call = self.channel.unary_unary(method).with_call(
            request.SerializeToString(), timeout=timeout_s
        )
        return reply, dict(call.trailing_metadata())

    def predict(
        self, rows: np.ndarray | tensor_pb2.TensorProto, timeout_s: float = 10.0, **spec: Any
    ) -> tuple[predict_pb2.PredictResponse, dict[str, str]]:
        packed = rows if isinstance(rows, tensor_pb2.TensorProto) else tensor(rows)
        filter_, name = spec.pop("output_filter", []), spec.pop("input", "image")
        request = predict_pb2.PredictRequest(
            model_spec=predict_pb2.ModelSpec(**{"name": "digits", **spec}),
            inputs={name: packed},
            output_filter=filter_,
        )
        reply, metadata = self.call(methods.PREDICT, request, timeout_s)
        return predict_pb2.PredictResponse.FromString(reply), metadata


@pytest.fixture(scope="module")
def serving(shared_serving: SmallServing) -> SmallServing:
    return shared_serving


@pytest.fixture(scope="module")
def client(serving: SmallServing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of one gateway for all tests here."""
    store, port = f"file://{tmp_path_factory.mktemp('store')}", free_port()
    change_labels(open_store(store), "digits", lambda _: Labels(stable=1))
    gateway = GatewayProcess.start(
        serving=serving.address, store=store, TIDEMILL_GATEWAY_GRPC_BIND=f"127.0.0.1:{port}"
    )
    wait_until(gateway.is_ready, "the gateway is ready")
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Client(channel)
    gateway.stop()


@pytest.fixture(autouse=True)
def _as_it_was(serving: SmallServing) -> Iterator[None]:
    yield
    serving.gate.set()
    serving.batches.clear()
    serving.models["digits"] = {1: State.AVAILABLE}


def values(reply: predict_pb2.PredictResponse) -> list[list[float]]:
    out = reply.outputs["probabilities"]
    shape = [dim.size for dim in out.tensor_shape.dim]
    rows: list[list[float]] = np.frombuffer(out.tensor_content, np.float32).reshape(shape)[:, :2].tolist()
    return rows


def test_a_prediction_names_its_version_in_the_answer_and_beside_it(client: Client) -> None:
    reply, metadata = client.predict(images(3.0, 4.0))

    assert values(reply) == [[1.0, 3.0], [1.0, 4.0]]
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("digits", 1)
    assert reply.model_spec.signature_name == "serving_default"
    assert metadata["x-tidemill-model-label"] == "stable"
    assert metadata["x-tidemill-batch-rows"] == "2"


def test_callers_share_batches(client: Client, serving: SmallServing) -> None:
    serving.gate.clear()
    with ThreadPoolExecutor(16) as pool:
        replies = [pool.submit(client.predict, images(float(n))) for n in range(16)]
        wait_until(lambda: sum(reply.running() for reply in replies) == 16, "all are under way")
        serving.gate.set()

        for number, reply in enumerate(replies):
            assert values(reply.result()[0]) == [[1.0, float(number)]]
    assert len(serving.batches) < 16


def test_values_may_come_unpacked(client: Client) -> None:
    packed = tensor(images(0.0))
    packed.ClearField("tensor_content")
    packed.float_val.append(0.5)  # TensorFlow leaves out repetitions of the last value

    reply, _ = client.predict(packed)

    assert values(reply) == [[1.0, 28 * 28 * 0.5]]


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        ({"name": "letters"}, grpc.StatusCode.NOT_FOUND, "letters"),
        ({"name": ""}, grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec"),
        ({"version": Int64Value(value=9)}, grpc.StatusCode.NOT_FOUND, "Specific(digits, 9)"),
        ({"version_label": "golden"}, grpc.StatusCode.INVALID_ARGUMENT, "golden"),
        ({"signature_name": "nope"}, grpc.StatusCode.FAILED_PRECONDITION, 'signature key "nope" not found'),
        ({"output_filter": ["nope"]}, grpc.StatusCode.INVALID_ARGUMENT, "nope"),
        ({"output_filter": ["probabilities"] * 2}, grpc.StatusCode.INVALID_ARGUMENT, "duplicate"),
        ({"input": "picture"}, grpc.StatusCode.INVALID_ARGUMENT, "Sent extra: ['picture']"),
    ],
)
def test_a_wrong_request_has_its_code_and_reason(
    client: Client, request_: dict[str, Any], code: grpc.StatusCode, said: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        client.predict(images(1.0), **dict(request_))

    assert refused.value.code() == code
    assert said in refused.value.details()


def test_bad_tensors_are_refused_before_they_join_a_batch(client: Client, serving: SmallServing) -> None:
    short, negative, wrong = tensor(images(1.0)), tensor(images(1.0)), tensor(np.zeros((1, 3)))
    short.tensor_content = short.tensor_content[:-1]
    negative.tensor_shape.dim[0].size = -1

    for bad in (
        short,
        negative,
        wrong,
        tensor_pb2.TensorProto(),
        tensor_pb2.TensorProto(dtype=tensor_pb2.DT_STRING),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            client.predict(bad)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT, bad
    assert serving.batches == []


def test_bytes_that_are_no_request_are_refused(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        client.channel.unary_unary(methods.PREDICT)(b"\xff\xff\xff", timeout=5)

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_the_callers_deadline_is_kept_and_its_work_dropped(client: Client, serving: SmallServing) -> None:
    serving.gate.clear()

    with pytest.raises(grpc.RpcError) as late:
        client.predict(images(1.0), timeout_s=0.3)

    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_status_and_metadata_are_servings_own(client: Client, serving: SmallServing) -> None:
    serving.models["digits"][2] = State.LOADING
    spec = predict_pb2.ModelSpec(name="digits", version=Int64Value(value=1))

    status, _ = client.call(methods.GET_MODEL_STATUS, model_pb2.GetModelStatusRequest(model_spec=spec))
    asked = model_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[methods.SIGNATURE_DEF])
    metadata, _ = client.call(methods.GET_MODEL_METADATA, asked)

    states = model_pb2.GetModelStatusResponse.FromString(status).model_version_status
    assert {state.version: state.state for state in states} == {1: State.AVAILABLE, 2: State.LOADING}
    assert b"serving_default" in metadata


def test_what_is_handed_on_goes_to_the_version_that_would_answer(
    client: Client, serving: SmallServing
) -> None:
    serving.models["digits"][2] = State.AVAILABLE  # newer than the one that is stable
    for label in (None, "stable"):
        spec = predict_pb2.ModelSpec(name="digits", version_label=label)
        asked = model_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[methods.SIGNATURE_DEF])
        reply, _ = client.call(methods.GET_MODEL_METADATA, asked)

        told = model_pb2.GetModelMetadataResponse.FromString(reply)
        assert told.model_spec.version.value == 1

    unknown = model_pb2.GetModelStatusRequest(
        model_spec=predict_pb2.ModelSpec(name="digits", version_label="golden")
    )
    with pytest.raises(grpc.RpcError) as refused:
        client.call(methods.GET_MODEL_STATUS, unknown)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def examples(*values: float) -> inference_pb2.Input:
    listed = [
        inference_pb2.Example(
            features=inference_pb2.Features(
                feature={"x": inference_pb2.Feature(float_list=inference_pb2.FloatList(value=[value]))}
            )
        )
        for value in values
    ]
    return inference_pb2.Input(example_list=inference_pb2.ExampleList(examples=listed))


def test_examples_are_classified_and_regressed_by_the_version_that_is_stable(
    client: Client, serving: SmallServing
) -> None:
    serving.models["digits"][2] = State.AVAILABLE  # newer than the one that is stable
    size = float(len(examples(1.0).example_list.examples[0].SerializeToString()))

    def spec(name: str) -> predict_pb2.ModelSpec:
        return predict_pb2.ModelSpec(name="digits", signature_name=name)

    asked = inference_pb2.ClassificationRequest(model_spec=spec("classify"), input=examples(1.0, 2.0))
    classified, told = client.call(methods.CLASSIFY, asked)
    regression = inference_pb2.RegressionRequest(model_spec=spec("regress"), input=examples(1.0))
    regressed, _ = client.call(methods.REGRESS, regression)

    first = inference_pb2.ClassificationResponse.FromString(classified)
    assert (first.model_spec.version.value, first.model_spec.signature_name) == (1, "classify")
    assert (told["x-tidemill-model-version"], told["x-tidemill-batch-rows"]) == ("1", "2")
    for row in first.result.classifications:
        assert [(one.label, one.score) for one in row.classes] == [("version", 1.0), ("size", size)]
    second = inference_pb2.RegressionResponse.FromString(regressed)
    assert [one.value for one in second.result.regressions] == [size]
    assert second.model_spec.version.value == 1


def test_callers_who_classify_share_batches(client: Client, serving: SmallServing) -> None:
    spec = predict_pb2.ModelSpec(name="digits", signature_name="classify")
    request = inference_pb2.ClassificationRequest(model_spec=spec, input=examples(1.0))
    serving.gate.clear()
    with ThreadPoolExecutor(12) as pool:
        replies = [pool.submit(client.call, methods.CLASSIFY, request) for _ in range(12)]
        wait_until(lambda: sum(reply.running() for reply in replies) == 12, "all are under way")
        serving.gate.set()
        for reply in replies:
            assert reply.result()[0]

    assert sum(serving.batches) == 12
    assert len(serving.batches) < 12


def test_examples_for_a_signature_that_takes_none_are_refused(client: Client) -> None:
    features = inference_pb2.Features(feature={"x": inference_pb2.Feature()})
    given = inference_pb2.Input(
        example_list=inference_pb2.ExampleList(examples=[inference_pb2.Example(features=features)])
    )
    for method, kind in (
        (methods.CLASSIFY, inference_pb2.ClassificationRequest),
        (methods.REGRESS, inference_pb2.RegressionRequest),
    ):
        for name, said in (("", "method_name"), ("nope", "No signature was found with the name: nope")):
            spec = predict_pb2.ModelSpec(name="digits", signature_name=name)
            with pytest.raises(grpc.RpcError) as refused:
                client.call(method, kind(model_spec=spec, input=given))

            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert said in refused.value.details()


def test_nobody_reconfigures_serving_through_the_gateway(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        client.call(methods.RELOAD_CONFIG, model_pb2.ReloadConfigRequest())

    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_the_wire_corpus_breaks_nothing(client: Client, data_folder: Any) -> None:
    for case in sorted((data_folder / "proto_wire" / "files").iterdir()):
        with pytest.raises(grpc.RpcError) as refused:
            client.channel.unary_unary(methods.PREDICT)(case.read_bytes(), timeout=10)
        assert refused.value.code() in (
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        ), case.name
    assert client.predict(images(1.0))[0].model_spec.version.value == 1
