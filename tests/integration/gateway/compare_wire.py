"""Compares our stubs with TensorFlow's and TensorFlow Serving's, field by field and byte by byte."""

from __future__ import annotations

import random
import sys
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)
from tidemill_gateway.wire import inference_pb2 as our_inference
from tidemill_gateway.wire import model_pb2 as our_model
from tidemill_gateway.wire import predict_pb2 as our_predict
from tidemill_gateway.wire import tensor_pb2 as our_tensor

PAIRS: list[tuple[Any, Any]] = [
    (our_tensor.TensorProto, tensor_pb2.TensorProto),
    (our_predict.PredictRequest, predict_pb2.PredictRequest),
    (our_predict.PredictResponse, predict_pb2.PredictResponse),
    (our_model.SignatureDef, meta_graph_pb2.SignatureDef),
    (our_model.SignatureDefMap, get_model_metadata_pb2.SignatureDefMap),
    (our_model.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataRequest),
    (our_model.GetModelMetadataResponse, get_model_metadata_pb2.GetModelMetadataResponse),
    (our_model.GetModelStatusRequest, get_model_status_pb2.GetModelStatusRequest),
    (our_model.GetModelStatusResponse, get_model_status_pb2.GetModelStatusResponse),
    (our_model.ReloadConfigRequest, model_management_pb2.ReloadConfigRequest),
    (our_model.ReloadConfigResponse, model_management_pb2.ReloadConfigResponse),
    (our_inference.ClassificationRequest, classification_pb2.ClassificationRequest),
    (our_inference.ClassificationResponse, classification_pb2.ClassificationResponse),
    (our_inference.RegressionRequest, regression_pb2.RegressionRequest),
    (our_inference.RegressionResponse, regression_pb2.RegressionResponse),
    (our_inference.MultiInferenceRequest, inference_pb2.MultiInferenceRequest),
]
LEFT_OUT = {
    "TensorProto": {"resource_handle_val", "variant_val", "float8_val"},
    "PredictRequest": {"predict_streamed_options", "client_id", "request_options"},
    "TensorInfo": {"composite_tensor"},
    "ModelServerConfig": {"custom_model_config"},
    "ModelConfig": {"model_type", "logging_config"},
}
"""Fields that the gateway never reads or writes; on the wire they pass through as unknown fields."""
WIRE_ALIKE = {frozenset({FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_ENUM})}
"""Both are varints: StatusProto's error code is a number with us, an enumeration with them."""

seen: set[str] = set()


def compare(ours: Any, theirs: Any) -> None:
    """Assert that every field of ours is theirs, and that we left out only what is named."""
    if ours.full_name in seen or ours.full_name.startswith("google."):
        return
    seen.add(ours.full_name)
    by_name = {field.name: field for field in theirs.fields}
    assert by_name.keys() - {field.name for field in ours.fields} == LEFT_OUT.get(ours.name, set()), ours.name
    for field in ours.fields:
        other = by_name[field.name]
        where = f"{ours.name}.{field.name}"
        assert field.number == other.number, where
        assert field.is_repeated == other.is_repeated, where
        assert field.is_packed == other.is_packed, where
        kinds = frozenset({field.type, other.type})
        assert field.type == other.type or kinds in WIRE_ALIKE, where
        if field.containing_oneof is not None and other.containing_oneof is not None:
            assert field.containing_oneof.name == other.containing_oneof.name, where
        if field.message_type is not None:
            compare(field.message_type, other.message_type)
        elif field.enum_type is not None:
            ours_by = {value.name: value.number for value in field.enum_type.values}
            theirs_by = {value.name: value.number for value in other.enum_type.values}
            assert ours_by.items() <= theirs_by.items(), where


def fill(message: Any, chance: random.Random, depth: int = 0) -> None:
    """Put a value in most fields."""
    for field in message.DESCRIPTOR.fields:
        if depth > 6 or chance.random() < 0.2:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            target = getattr(message, field.name)
            for _ in range(2):
                key = f"key{chance.randrange(100)}"
                if field.message_type.fields_by_name["value"].message_type is not None:
                    fill(target[key], chance, depth + 1)
                else:
                    target[key] = chance.randrange(1, 2**40)
        elif field.message_type is not None:
            for _ in range(2 if field.is_repeated else 1):
                inner = (
                    getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
                )
                inner.SetInParent()
                if not field.message_type.full_name.startswith("google."):
                    fill(inner, chance, depth + 1)
                elif field.message_type.name == "Int64Value":
                    inner.value = chance.randrange(2**62)
        elif field.is_repeated:
            getattr(message, field.name).extend([scalar(field, chance) for _ in range(3)])
        else:
            setattr(message, field.name, scalar(field, chance))


def scalar(field: Any, chance: random.Random) -> Any:
    """A value of the field's type."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return f"text {chance.random()}"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return chance.randbytes(8)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return True
    if field.type == FieldDescriptor.TYPE_ENUM:
        return chance.choice(field.enum_type.values).number
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return float(chance.randrange(1000))
    return chance.randrange(1, 17)


def main() -> int:
    """Compare everything; an assertion says what differs."""
    chance = random.Random(7)
    for ours, theirs in PAIRS:
        compare(ours.DESCRIPTOR, theirs.DESCRIPTOR)
        for _ in range(50):
            message = ours()
            fill(message, chance)
            data = message.SerializeToString(deterministic=True)
            official = theirs.FromString(data)
            assert not len(list(official.ListFields())) < len(list(message.ListFields()))
            assert official.SerializeToString(deterministic=True) == data, ours.DESCRIPTOR.name
            assert ours.FromString(official.SerializeToString()) == message, ours.DESCRIPTOR.name
    missing = {v.name for v in types_pb2.DataType.DESCRIPTOR.values if v.number < 24} - {
        v.name for v in our_tensor.DataType.DESCRIPTOR.values
    }
    assert not missing, missing
    print(f"compared {len(seen)} messages")  # noqa: T201  (read by the test)
    return 0


if __name__ == "__main__":
    sys.exit(main())
