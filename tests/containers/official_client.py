"""TensorFlow Serving's own stubs in a process: ``official_client HOST:PORT MODEL < image.png``."""

from __future__ import annotations

import json
import sys

import grpc
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc


def main(address: str, model: str) -> None:
    """Predict one image; print the version and the label as JSON."""
    with grpc.insecure_channel(address) as channel:
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        asked.model_spec.name = model
        told = service.GetModelMetadata(asked, timeout=30).metadata["signature_def"]
        signatures = get_model_metadata_pb2.SignatureDefMap()
        told.Unpack(signatures)
        (name,) = signatures.signature_def["serving_default"].inputs
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.inputs[name].CopyFrom(tf.make_tensor_proto([sys.stdin.buffer.read()]))
        reply = service.Predict(request, timeout=30)
        label = tf.make_ndarray(reply.outputs["label"])[0].decode()
        sys.stdout.write(json.dumps({"version": reply.model_spec.version.value, "label": label}))


if __name__ == "__main__":
    main(*sys.argv[1:])
