"""Calls over gRPC as the rules make them, and what comes back of a refusal or a status."""

from __future__ import annotations

import re
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

AVAILABLE, END = 30, 50
CODE = grpc.StatusCode
ALL = "model_version_policy { all {} }"
HALF = "half_plus_two"
X = [[1.0], [2.0]]


def predict_request(model="half_plus_two", *, signature="", version=None, label=None, outputs=(), **inputs):
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for alias, value in inputs.items():
        tensor = value if isinstance(value, np.ndarray) else np.array(value, np.float32)
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(tensor))
    return request


def refused(call, request):
    """Code and text of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=60)
    return caught.value.code(), caught.value.details()


def status_of(server, model, version=None):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    response = server.model.GetModelStatus(request, timeout=60)
    return {each.version: (each.state, each.status.error_code) for each in response.model_version_status}


def wait_until(is_true, seconds=120.0):
    end_s = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def requests_counted(server):
    text = server.http("GET", "/monitoring/prometheus/metrics").body.decode()
    return sum(
        int(count) for count in re.findall(r"^:tensorflow:serving:request_count{.*} (\d+)$", text, re.M)
    )
