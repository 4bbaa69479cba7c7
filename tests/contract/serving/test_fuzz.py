"""Foreign and hostile input: an answer every time, never a fault of ours, and no memory that stays."""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path
from urllib.parse import quote

import grpc
import pytest
from tensorflow_serving.apis import predict_pb2

ANSWERS_OF_OURS = {400, 404, 501}
"""What wrong input may meet over REST."""

GRPC_OF_OURS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
}
HALF = "/v1/models/half_plus_two:predict"


def post(server, path: str, body: bytes) -> int:
    """The status of one request, sent as it is: no client library repairs the path."""
    host = server.rest.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request("POST", path, body)
        reply = connection.getresponse()
        reply.read()
        return reply.status
    finally:
        connection.close()


@pytest.fixture(scope="session")
def naughty(data_folder: Path) -> list[str]:
    return json.loads((data_folder / "naughty_strings" / "blns.json").read_text())


@pytest.fixture(scope="session")
def documents(data_folder: Path) -> list[Path]:
    return sorted((data_folder / "json_test_suite" / "test_parsing").iterdir())


def test_every_json_document_gets_an_answer(server, documents):
    statuses = {path.name: post(server, HALF, path.read_bytes()) for path in documents}

    assert {name: status for name, status in statuses.items() if status not in ANSWERS_OF_OURS} == {}


def test_every_json_document_as_a_value_gets_an_answer(server, documents):
    wrong = {}
    for path in documents:
        for key in ("instances", "inputs", "signature_name"):
            status = post(server, HALF, b'{"' + key.encode() + b'": ' + path.read_bytes() + b"}")
            if status not in ANSWERS_OF_OURS | {200}:
                wrong[path.name, key] = status

    assert wrong == {}


@pytest.mark.parametrize("depth", [10, 1000, 100_000])
def test_deep_nesting_gets_an_answer(server, depth):
    nested = b"[" * depth + b"]" * depth

    assert post(server, HALF, nested) == 400
    assert post(server, HALF, b'{"instances": ' + nested + b"}") in {200, 400}


def test_naughty_strings_as_names_labels_and_inputs_get_an_answer(server, naughty):
    wrong = {}
    for text in naughty:
        quoted = quote(text, safe="")
        statuses = [
            post(server, f"/v1/models/{quoted}:predict", b'{"instances": [[1.0]]}'),
            post(server, f"/v1/models/half_plus_two/labels/{quoted}:predict", b'{"instances": [[1.0]]}'),
            post(server, HALF, json.dumps({"signature_name": text, "instances": [[1.0]]}).encode()),
            post(server, HALF, json.dumps({"instances": [text]}).encode()),
            post(server, HALF, json.dumps({"instances": [{text: 1.0}]}).encode()),
        ]
        if not set(statuses) <= ANSWERS_OF_OURS | {200}:
            wrong[text] = statuses

    assert wrong == {}


def test_naughty_strings_come_back_as_they_went(server, naughty):
    sent = [text for text in naughty if text.isprintable()]
    body = json.dumps({"signature_name": "text", "instances": sent}).encode()

    reply = server.http("POST", "/v1/models/strings:predict", body)

    assert json.loads(reply.body)["predictions"] == sent


def test_naughty_strings_over_grpc_get_an_answer(server, naughty):
    """As the model's name, the label, the signature, the input's and the output's alias, and as text."""
    wrong = {}
    for text in naughty:
        requests = [predict_request(model_name=text), predict_request(), predict_request(), predict_request()]
        requests[1].model_spec.version_label = text
        requests[2].model_spec.signature_name = text
        requests[3].output_filter.append(text)
        requests.append(predict_request(alias=text))
        codes = [raw_call(server, request.SerializeToString()) for request in requests]
        if not set(codes) <= GRPC_OF_OURS:
            wrong[text] = codes

    assert wrong == {}


def test_naughty_strings_over_grpc_come_back_as_they_went(server, naughty):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "strings", "text"
    tensor = request.inputs["text"]
    tensor.dtype = 7
    tensor.tensor_shape.dim.add().size = len(naughty)
    tensor.string_val.extend(text.encode() for text in naughty)

    response = server.prediction.Predict(request, timeout=60)

    assert [value.decode() for value in response.outputs["text"].string_val] == naughty


def predict_request(model_name="half_plus_two", alias="x"):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.inputs[alias].dtype = 1
    for size in (1, 1):
        request.inputs[alias].tensor_shape.dim.add().size = size
    request.inputs[alias].float_val.append(1.0)
    return request


def raw_call(server, data: bytes) -> grpc.StatusCode:
    call = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    try:
        call(data, timeout=30)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_foreign_protobuf_bytes_get_an_answer(server, data_folder):
    corpus = sorted(path for path in (data_folder / "proto_wire" / "files").rglob("*") if path.is_file())
    tolerated = GRPC_OF_OURS | {grpc.StatusCode.INTERNAL}  # gRPC's own word for bytes that do not parse

    codes = {path.name: raw_call(server, path.read_bytes()) for path in corpus}

    assert len(codes) > 10
    assert {name: code for name, code in codes.items() if code not in tolerated} == {}


def test_a_request_with_any_byte_changed_gets_an_answer(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half_plus_two"
    request.inputs["x"].dtype = 1
    for size in (2, 1):
        request.inputs["x"].tensor_shape.dim.add().size = size
    request.inputs["x"].float_val.extend([1.0, 2.0])
    whole = request.SerializeToString()
    tolerated = GRPC_OF_OURS | {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED}

    codes = set()
    for position in range(len(whole)):
        for flipped in (0x01, 0x40, 0xFF):
            changed = whole[:position] + bytes([whole[position] ^ flipped]) + whole[position + 1 :]
            codes.add(raw_call(server, changed))

    assert codes <= tolerated


def test_a_tensor_that_claims_to_be_huge_takes_no_memory(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half_plus_two"
    request.inputs["x"].dtype = 1
    for size in (2**20, 2**12):
        request.inputs["x"].tensor_shape.dim.add().size = size
    request.inputs["x"].float_val.append(1.0)

    assert raw_call(server, request.SerializeToString()) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.skipif("TIDEMILL_TEST_SERVER" in os.environ, reason="another server's memory cannot be seen")
def test_memory_stays_flat_under_wrong_requests(server, engine_rss_mb):
    def storm(count: int) -> None:
        connection = http.client.HTTPConnection(server.rest.removeprefix("http://"), timeout=30)
        for number in range(count):
            connection.request("POST", f"/v1/models/m{number}:predict", b'{"instances": [[1.0]]}')
            connection.getresponse().read()
            connection.request("POST", HALF, json.dumps({"instances": [["x" * 1000]]}).encode())
            connection.getresponse().read()
        connection.close()

    storm(500)
    before_mb = engine_rss_mb()
    storm(3000)

    assert engine_rss_mb() - before_mb < 20


@pytest.mark.skipif("TIDEMILL_TEST_SERVER" in os.environ, reason="another server's memory cannot be seen")
def test_memory_stays_flat_under_wrong_requests_over_grpc(server, engine_rss_mb):
    def storm(count: int) -> None:
        for number in range(count):
            unknown, labelled = predict_request(model_name=f"m{number}"), predict_request()
            labelled.model_spec.version_label = f"l{number}"
            wrong_shape = predict_request()
            wrong_shape.inputs["x"].tensor_shape.dim[0].size = 1000 + number
            foreign = predict_request(alias=f"a{number}")
            for request in (unknown, labelled, wrong_shape, foreign):
                raw_call(server, request.SerializeToString())

    storm(500)
    before_mb = engine_rss_mb()
    storm(2000)

    assert engine_rss_mb() - before_mb < 20
