"""The agent's few messages are TensorFlow Serving's, field by field."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.descriptor import FieldDescriptor
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
)
from tensorflow_serving.config import model_server_config_pb2
from tidemill_contracts.golden import Golden, GoldenInput, GoldenOutput
from tidemill_serving import wire
from tidemill_serving.golden_check import golden_request

OFFICIAL = {
    "MODEL_SPEC": model_pb2.ModelSpec,
    "MODEL_CONFIG": model_server_config_pb2.ModelConfig,
    "MODEL_CONFIG_LIST": model_server_config_pb2.ModelConfigList,
    "MODEL_SERVER_CONFIG": model_server_config_pb2.ModelServerConfig,
    "RELOAD_REQUEST": model_management_pb2.ReloadConfigRequest,
    "RELOAD_RESPONSE": model_management_pb2.ReloadConfigResponse,
    "STATUS_REQUEST": get_model_status_pb2.GetModelStatusRequest,
    "VERSION_STATUS": get_model_status_pb2.ModelVersionStatus,
    "STATUS_RESPONSE": get_model_status_pb2.GetModelStatusResponse,
    "METADATA_REQUEST": get_model_metadata_pb2.GetModelMetadataRequest,
    "METADATA_RESPONSE": get_model_metadata_pb2.GetModelMetadataResponse,
    "SHAPE": tensor_shape_pb2.TensorShapeProto,
    "DIM": tensor_shape_pb2.TensorShapeProto.Dim,
    "TENSOR": tensor_pb2.TensorProto,
    "PREDICT_REQUEST": predict_pb2.PredictRequest,
    "PREDICT_RESPONSE": predict_pb2.PredictResponse,
}


@pytest.mark.parametrize("name", sorted(OFFICIAL))
def test_fields_have_the_official_numbers_and_types(name):
    official = OFFICIAL[name].DESCRIPTOR.fields_by_name

    for field, (number, kind) in wire.DECLARED[name].items():
        assert official[field].number == number
        assert official[field].is_repeated == kind.endswith("*")
        base = kind.removesuffix("*")
        if not base.isupper():
            types = {getattr(FieldDescriptor, f"TYPE_{base.upper()}")}
            types |= {FieldDescriptor.TYPE_ENUM} if base == "int32" else set()
            assert official[field].type in types


def test_the_policy_of_specific_versions_is_read_as_such():
    request = wire.ReloadRequest()
    config = request.config.model_config_list.config.add(
        name="m", base_path="/m", model_platform="tensorflow"
    )
    config.model_version_policy.specific.versions.extend([3, 5])
    config.version_labels.add(key="stable", value=3)

    read = model_management_pb2.ReloadConfigRequest.FromString(request.SerializeToString())

    (model,) = read.config.model_config_list.config
    assert list(model.model_version_policy.specific.versions) == [3, 5]
    assert dict(model.version_labels) == {"stable": 3}


def test_a_golden_request_is_what_tensorflow_reads():
    golden = Golden(
        inputs={
            "image": GoldenInput.of_bytes([b"\x89PNG", b""]),
            "number": GoldenInput(dtype="int64", shape=(1, 2), values=(1, 2)),
            "flag": GoldenInput(dtype="bool", shape=(), values=(True,)),
            "decimal": GoldenInput(dtype="float64", shape=(1,), values=(0.1,)),
        },
        outputs={"y": GoldenOutput(shape=(1,), values=(0.0,))},
    )

    raw = golden_request("digits", 7, golden).SerializeToString()
    read = predict_pb2.PredictRequest.FromString(raw)

    assert read.model_spec.version.value == 7
    assert tf.make_ndarray(read.inputs["image"]).tolist() == [b"\x89PNG", b""]
    np.testing.assert_array_equal(tf.make_ndarray(read.inputs["number"]), [[1, 2]])
    assert bool(tf.make_ndarray(read.inputs["flag"])) is True
    assert tf.make_ndarray(read.inputs["decimal"]).tolist() == [0.1]
