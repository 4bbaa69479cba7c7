"""Traces from the client to the model, as a collector of OpenTelemetry sees them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from tidemill_gateway.wire import methods, predict_pb2, tensor_pb2

from tests.emulators.gateway_process import GatewayProcess, image, wait_until
from tests.emulators.machine import free_port
from tests.emulators.small_serving import SmallServing

ONE = {"instances": [image(1.0)]}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Collector:
    """Takes OTLP over HTTP and keeps every span."""

    def __init__(self) -> None:
        spans: list[Any] = []
        self.spans = spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        spans.extend(scope.spans)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


StartGateway = Callable[..., GatewayProcess]


def test_a_callers_trace_goes_through_admission_queue_and_computing_to_the_model(
    start_gateway: StartGateway,
    set_labels: Callable[..., None],
    serving: SmallServing,
    collector: Collector,
) -> None:
    set_labels(stable=1)
    gateway = start_gateway(TIDEMILL_GATEWAY_TRACES=collector.address)

    assert gateway.predict(ONE, traceparent=TRACEPARENT).status == 200

    wait_until(lambda: len(collector.spans) == 4, "four spans are collected")
    by_name = {span.name: span for span in collector.spans}
    request = by_name.pop("predict")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert by_name.keys() == {"admission", "queue", "compute"}
    for span in by_name.values():
        assert (span.trace_id.hex(), span.parent_span_id) == (TRACE, request.span_id)
        assert request.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= request.end_time_unix_nano
    assert by_name["admission"].end_time_unix_nano <= by_name["queue"].start_time_unix_nano
    assert by_name["queue"].end_time_unix_nano <= by_name["compute"].start_time_unix_nano
    told = {item.key: item.value for item in request.attributes}
    assert told["tidemill.version"].int_value == 1
    assert told["tidemill.label"].string_value == "stable"
    assert serving.headers[-1]["traceparent"] == f"00-{TRACE}-{by_name['compute'].span_id.hex()}-01"


def test_those_who_share_a_batch_each_have_their_own_trace_and_link_to_the_one_that_went_on(
    start_gateway: StartGateway,
    set_labels: Callable[..., None],
    serving: SmallServing,
    collector: Collector,
) -> None:
    set_labels(stable=1)
    gateway = start_gateway(TIDEMILL_GATEWAY_TRACES=collector.address, TIDEMILL_GATEWAY_BATCHES_MAX="1")
    serving.gate.clear()
    with ThreadPoolExecutor(9) as pool:
        answers = [pool.submit(gateway.predict, ONE) for _ in range(9)]
        wait_until(lambda: gateway.metric("tidemill_gateway_waiting_rows") == 9, "all wait")
        serving.gate.set()
        assert {answer.result().status for answer in answers} == {200}

    wait_until(lambda: len(collector.named("predict")) == 9, "all are collected")
    computing = collector.named("compute")
    assert len({span.trace_id for span in computing}) == 9
    linked = [span for span in computing if span.links]
    assert len(linked) == 9 - len(serving.batches)
    leaders = {span.span_id for span in computing if not span.links}
    assert {link.span_id for span in linked for link in span.links} <= leaders


def test_who_says_not_to_trace_is_not_traced_and_a_refusal_is(
    start_gateway: StartGateway,
    set_labels: Callable[..., None],
    serving: SmallServing,
    collector: Collector,
) -> None:
    set_labels(stable=1)
    gateway = start_gateway(TIDEMILL_GATEWAY_TRACES=collector.address)

    assert gateway.predict(ONE, traceparent=f"00-{TRACE}-{PARENT}-00").status == 200
    assert gateway.predict(b"no json", traceparent="nonsense").status == 400

    wait_until(lambda: len(collector.named("predict")) == 1, "the refusal is collected")
    (refused,) = collector.named("predict")
    assert refused.trace_id.hex() != TRACE
    assert {item.key: item.value.string_value for item in refused.attributes}["error.type"] == "Malformed"
    assert serving.headers[-1]["traceparent"].endswith("-00"), "the wish goes on to the model"


def test_grpc_is_traced_alike(
    start_gateway: StartGateway,
    set_labels: Callable[..., None],
    serving: SmallServing,
    collector: Collector,
) -> None:
    set_labels(stable=1)
    port = free_port()
    start_gateway(TIDEMILL_GATEWAY_TRACES=collector.address, TIDEMILL_GATEWAY_GRPC_BIND=f"127.0.0.1:{port}")
    dims = [tensor_pb2.TensorShapeProto.Dim(size=size) for size in (1, 28, 28, 1)]
    rows = tensor_pb2.TensorProto(
        dtype=tensor_pb2.DT_FLOAT,
        tensor_shape=tensor_pb2.TensorShapeProto(dim=dims),
        tensor_content=np.zeros(784, np.float32).tobytes(),
    )
    request = predict_pb2.PredictRequest(
        model_spec=predict_pb2.ModelSpec(name="digits"), inputs={"image": rows}
    )

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(methods.PREDICT)
        call(request.SerializeToString(), timeout=10, metadata=(("traceparent", TRACEPARENT),))

    wait_until(lambda: len(collector.spans) == 4, "four spans are collected")
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert serving.headers[-1]["traceparent"].startswith(f"00-{TRACE}-")


def test_a_stopped_collector_is_not_felt_by_clients(
    start_gateway: StartGateway, set_labels: Callable[..., None]
) -> None:
    set_labels(stable=1)
    gateway = start_gateway(TIDEMILL_GATEWAY_TRACES=f"http://127.0.0.1:{free_port()}")

    assert [gateway.predict(ONE).status for _ in range(20)] == [200] * 20
    assert gateway.stop() == 0


def test_without_an_address_nothing_is_passed_on(gateway: GatewayProcess, serving: SmallServing) -> None:
    assert gateway.predict(ONE, traceparent=TRACEPARENT).status == 200

    assert "traceparent" not in serving.headers[-1]
